from .dcache import DcacheLookup as DcacheLookup
from .dcache import probe_dcache as probe_dcache
from .mount_records import MountRecords as MountRecords
from .mounts import MountTable as MountTable
from .resolve import PathRefs as PathRefs
from .resolve import PathResolver as PathResolver
