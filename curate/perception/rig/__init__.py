"""The rig as a hypothesis: the rotation that a published calibration left between the two cameras.

Right camera axes are turned by the rotation vector (tilt, pan, roll) = (about x, about y, about z), radians:
X_left = exp([θ]×) X_right + (baseline, 0, 0). At a right-image position (x, y) in focal lengths, to first order,
    disparity seen − true  =  f (pan (1 + x²) − roll y − tilt x y)
    row right − row left   =  f (tilt (1 + y²) − roll x − pan x y)
so tilt and roll show in the rows of every match; pan shows weakly there, and in the camera's motion: an offset of
disparity makes near and far points disagree about it. The scale of the baseline shows nowhere and is not touched.
"""
