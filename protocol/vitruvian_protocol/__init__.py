"""The wire contract between add-on, command line and backend. numpy, msgpack; pyzmq for the client alone."""

from .checks import check_scene as check_scene
from .checks import check_settings as check_settings
from .checks import clean_prompt as clean_prompt
from .doubts import warnings_of as warnings_of
from .errors import ProtocolError as ProtocolError
from .scene import CameraArrays as CameraArrays
from .scene import MeshArrays as MeshArrays
from .scene import RigArrays as RigArrays
from .scene import Scene as Scene
from .scene import Settings as Settings
