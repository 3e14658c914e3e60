"""Augmentation with exact algebra: a scene and its video change together, and questions are asked of what comes out.

    mirror      left and right change sides
    reverse     the clip is played backwards
    playback    the clip is played at another rate
    later       the clip is cut to begin where objects enter that its first frame does not show

Each is a pure function from Scene to Scene, and any of them may be joined. The first three are undone by themselves
(`playback` by the inverse rate). What comes of one clip is a group: `Scene.group` is the clip's key, with which the
others begin, and they have its recording.
"""

from curate.augment.later import late_start, later
from curate.augment.mirror import mirror
from curate.augment.playback import playback
from curate.augment.reverse import reverse
from curate.augment.variant import Variant, apply, variant_of

__all__ = ["Variant", "apply", "late_start", "later", "mirror", "playback", "reverse", "variant_of"]
