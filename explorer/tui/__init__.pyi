from .app import ExplorerApp as ExplorerApp
from .keymap import apply_keymap as apply_keymap
from .keymap import declared_keys as declared_keys
from .keymap import keymap_complaint as keymap_complaint
from .keymap import show_keys as show_keys
from .run import run_app as run_app
from .settings import config_directory as config_directory
from .settings import load_settings as load_settings
