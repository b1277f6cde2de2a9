from .facets import count_target_facets as count_target_facets
from .targets import describe_target as describe_target
from .targets import fleet_line as fleet_line
from .targets import target_reference as target_reference
from .targets import targets_table as targets_table
