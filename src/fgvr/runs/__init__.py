"""What a run leaves on disk: one locked folder, a manifest, append-only ledgers, atomic files."""

from fgvr.runs.arrays import load_arrays as load_arrays
from fgvr.runs.arrays import save_arrays as save_arrays
from fgvr.runs.atomic import atomic_path as atomic_path
from fgvr.runs.atomic import write_bytes as write_bytes
from fgvr.runs.atomic import write_json as write_json
from fgvr.runs.atomic import write_text as write_text
from fgvr.runs.folder import RunFolder as RunFolder
from fgvr.runs.folder import read_manifest as read_manifest
from fgvr.runs.folder import settings_digest as settings_digest
from fgvr.runs.ledger import Ledger as Ledger
