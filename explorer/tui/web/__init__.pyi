from .server import serve_app as serve_app
