from .mount_now import MountIdentity as MountIdentity
from .mount_now import MountNow as MountNow
from .request import CaptureProgress as CaptureProgress
from .request import CaptureRequest as CaptureRequest
from .request import CaptureStats as CaptureStats
from .snapshot import capture_snapshot as capture_snapshot
from .tasks import NameidataOffsets as NameidataOffsets
from .tasks import nameidata_offsets as nameidata_offsets
