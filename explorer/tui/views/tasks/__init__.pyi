from .completion import complete_target as complete_target
from .completion import longest_common as longest_common
from .facets import FACETS_WIDTH as FACETS_WIDTH
from .facets import FacetTable as FacetTable
from .view import TaskTable as TaskTable
