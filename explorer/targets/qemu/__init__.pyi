from .attach import open_qemu as open_qemu
from .attach import query_guest as query_guest
from .control import GuestControl as GuestControl
from .control import GuestEndedError as GuestEndedError
from .qmp import QmpConnection as QmpConnection
from .start import BootOptions as BootOptions
from .start import StartedGuest as StartedGuest
from .watch import GuestWatch as GuestWatch
