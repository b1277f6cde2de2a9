from .events import Event as Event
from .events import EventKind as EventKind
from .follow import BorrowSpan as BorrowSpan
from .follow import Timeline as Timeline
from .follow import TimelineBuilder as TimelineBuilder
from .follow import build_timeline as build_timeline
from .phases import Phase as Phase
