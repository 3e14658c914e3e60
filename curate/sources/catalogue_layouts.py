"""The layout that each kind of source expects, in full."""

from __future__ import annotations

LAYOUTS: dict[str, str] = {
    "stereo_pair": """
    ROOT/left/000000.png ...           images (png jpg tif bmp pgm ppm webp; grey or colour, 8 or 16 bit), or a video
    ROOT/right/000000.png ...
    ROOT/calib.json                    fx, fy, cx, cy, baseline_m; or P0..P3; or both cameras with distortion
    ROOT/times_s.txt                   a line a frame: seconds, or nanoseconds

EuRoC, TUM-VI (left: mav0/cam0/data, right: mav0/cam1/data; names are nanoseconds):
    ROOT/mav0/cam0/data/1403715273262142976.png ...
    ROOT/mav0/cam0/sensor.yaml         T_BS, intrinsics, radial-tangential or equidistant distortion
KITTI odometry (left: image_2, right: image_3, calibration: calib.txt, timestamps: times.txt)

Calibrations: json, KITTI calib.txt, two EuRoC sensor.yaml, Kalibr camchain yaml, OpenCV FileStorage (cameraMatrix1,
distCoeffs1, ..., R, T; yaml or xml, one file or intrinsics and extrinsics; say calibration_unit where T is not in
metres, lens: fisheye where it is one), two ROS camera_info yaml. Pairs that are not rectified are, when opened.
Media that are turned by the container or by EXIF are turned, or not with rotation: as-stored. Where one camera lost
frames say pairing: time. Several recordings: recordings: "*".""",
    "side_by_side": """
    ROOT/**/NAME.mp4                   each frame holds left and right side by side
    ROOT/**/NAME.calib.json            of one eye's image: fx, cx, cy, baseline_m; or calibration: in the recipe

packing: half where each eye is squeezed to half its width; first: right where the right eye is on the left.""",
    "top_bottom": """
    ROOT/**/NAME.mp4                   each frame holds left above right
    ROOT/**/NAME.calib.json            of one eye's image: fx, cx, cy, baseline_m; or calibration: in the recipe

packing: half where each eye is squeezed to half its height; first: right where the right eye is above.""",
    "rendered": """
No files: scenes are drawn from a distribution (scenes: YAML, default built in) and ray cast when read.""",
    "multiview": """
    ROOT/cam_0.mp4, cam_1.mp4, ...     videos, or folders of images; media: "cam_{name}.mp4"
    ROOT/camera_array.toml             every camera's matrix, distortion and pose: toml (caliscope, anipose, Pose2Sim),
                                       json, Qualisys .qca.txt or .xml, or a folder with COLMAP's cameras and images
    ROOT/timestamps.csv                optional: cam_id, frame_time (seconds) a line; default the videos' own times

Cameras stand still and saw the same instants.""",
    "rgbd": """
TUM (layout: tum):
    ROOT/rgb.txt, depth.txt            `time file` a line; ROOT/rgb/*.png, ROOT/depth/*.png (16 bit, 5000 a metre)
    ROOT/groundtruth.txt               optional: time tx ty tz qx qy qz qw
7-Scenes (layout: 7-scenes):
    ROOT/frame-000000.color.png, .depth.png (16 bit, millimetres), .pose.txt (4x4, camera to world)
Open3D (layout: folders):
    ROOT/color/*.jpg, ROOT/depth/*.png (16 bit, millimetres), ROOT/trajectory.log optional

color: the colour camera, inline or Open3D's intrinsic json. registration says where depth lies beside colour
(registered, known, refined, unknown): there is no default, as a wrong one shows in no number.""",
    "kitti_tracking": """
    ROOT/label_02/0016.txt             frame id type truncated occluded alpha box2d h w l x y z rotation_y
    ROOT/calib/0016.txt                P0..P3, R_rect, Tr_velo_cam, Tr_imu_velo
    ROOT/oxts/0016.txt                 the vehicle's poses; or static: true where the camera stands still
    ROOT/image_02/0016/000000.png ...  optional: without images records are text alone""",
    "argoverse2": """
    ROOT/annotations.feather           cuboids with track_uuid, timestamp_ns, size and pose in the vehicle
    ROOT/city_SE3_egovehicle.feather   the vehicle's pose at each time

Several logs: recordings: "*".""",
    "dgp": """
    ROOT/scene_HASH.json               samples, data, poses
    ROOT/calibration/HASH.json         intrinsics and extrinsics of the sensors
    ROOT/ontology/HASH.json            names of the classes
    ROOT/bounding_box_3d/LIDAR/*.json  cuboids with instance_id
    ROOT/rgb/CAMERA_01/*.jpg           optional: pictures of one camera""",
    "stereo4d": """
    ROOT/npz/NAME.npz                                     timestamps (microseconds), camera2world, ragged 3D tracks,
                                                          fov_bounds, rectified2rig
    ROOT/processed/NAME/NAME-left_rectified.mp4           a frame for each of the timestamps
    ROOT/processed/NAME/NAME-right_rectified.mp4          optional

video: side_by_side reads ROOT/processed/NAME/NAME.mp4 with both eyes; video: raw cuts views out of the original
VR180 video, ROOT/raw/VIDEO_ID.mp4.""",
    "vr180": """
    ROOT/**/*.mp4                      both eyes in each frame, equirectangular or fisheye, side by side or top-bottom

Where the eyes are and what each shows is read from Spherical Video metadata (V2 boxes st3d and sv3d, V1 xml, WebM);
else each eye shows 180 x 180 degrees, left first. pairs: says which perspective pairs are cut out.""",
    "single_video": """
    ROOT/frames/000000.jpg ...         images, or a video (media: NAME.mp4)
    ROOT/calib.json                    optional, with a 3x3 *homography*: pixel of a foot to metres on the ground
    ROOT/depth/000000.png ...          optional: 16 bit png or npy, metric depth of every frame
    ROOT/lidar/000000.bin ...          optional: a scan a frame (.bin .npy .npz), with KITTI's calibration

Without ground, depth or lidar the scale is relative, and nothing metric is asked.""",
    "conversations": """
    ROOT/...                           images and videos, at the paths that the texts name (strip: what comes before)
    TEXTS/*.json, *.jsonl              a list, or a line each: LLaVA and ShareGPT `conversations`, `messages`, Qwen-VL,
                                       plain question and answer, with or without choices

texts: is the folder of the files, default ROOT. perceive: says whether our regions, questions or teacher tensors are
added (packed stereo: layout: side_by_side).""",
}
