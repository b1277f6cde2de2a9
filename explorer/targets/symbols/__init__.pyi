from .btf import BtfError as BtfError
from .idr import IdrError as IdrError
from .idr import for_each_idr_entry as for_each_idr_entry
from .idr import for_each_idr_item as for_each_idr_item
from .ko import read_module_file as read_module_file
from .typecache import cache_directory as cache_directory
from .types import KernelTypes as KernelTypes
from .types import attach_types as attach_types
