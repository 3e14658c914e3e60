"""Augmentation with exact algebra: a scene and its video change together, and questions are asked of what comes out.

    mirror      left and right change sides
    reverse     the clip is played backwards
    playback    the clip is played at another rate

Each is a pure function from Scene to Scene, undone by itself (`playback` by the inverse rate), and any of them may be
joined. What comes of one clip is a group: `Scene.group` is the clip's key, with which the others begin, and they have
its recording.
"""

from curate.augment.mirror import mirror
from curate.augment.playback import playback
from curate.augment.reverse import reverse
from curate.augment.variant import Variant, apply, variant_of

__all__ = ["Variant", "apply", "mirror", "playback", "reverse", "variant_of"]
