from .targets import FleetScreen as FleetScreen
