from .listed import ListedFleet as ListedFleet
