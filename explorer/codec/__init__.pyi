from .snapshots import SnapshotError as SnapshotError
from .snapshots import load_snapshot as load_snapshot
from .snapshots import snapshot_schema as snapshot_schema
from .snapshots import write_json as write_json
from .snapshots import write_jsonl as write_jsonl
from .stream import SnapshotStream as SnapshotStream
from .version import check_version as check_version
