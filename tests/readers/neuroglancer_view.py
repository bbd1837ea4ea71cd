"""Neuroglancer in a headless Chromium over files of a mount, and the picture that it draws.

One pixel is one voxel of level 0 in the plane x, y, so the picture can be compared with the server's voxels pixel by pixel.
"""

import contextlib
import http.server
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np

# A machine with two busy cores draws by software.
LIMIT_S = 120


def chromium():
    """The browser, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Files(http.server.SimpleHTTPRequestHandler):
    """The files of a directory, for pages of any origin."""

    protocol_version = "HTTP/1.1"

    def end_headers(self):
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(directory):
    """An address of 127.0.0.1 that serves a directory for the length of a `with`."""

    def handler(*arguments):
        return Files(*arguments, directory=str(directory))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def picture(source, labels, voxel_size, centre, size, home):
    """What neuroglancer draws of a source round a voxel (x, y, z), as (rows, columns, RGB); the voxel size is nm, x y z."""
    import neuroglancer

    neuroglancer.set_server_bind_address("127.0.0.1")
    viewer = neuroglancer.Viewer()
    with viewer.txn() as state:
        state.dimensions = neuroglancer.CoordinateSpace(names=["x", "y", "z"], units="nm", scales=list(voxel_size))
        state.position = list(centre)
        state.cross_section_scale = 1
        state.layout = "xy"
        state.show_axis_lines = state.show_scale_bar = state.show_default_annotations = False
        state.cross_section_background_color = "#000000"
        if labels:
            state.layers["layer"] = neuroglancer.SegmentationLayer(source=source)
        else:
            shader = "void main() { emitGrayscale(toNormalized(getDataValue())); }"
            state.layers["layer"] = neuroglancer.ImageLayer(source=source, shader=shader, opacity=1)
    words = [chromium(), "--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    words += ["--force-device-scale-factor=1", f"--user-data-dir={Path(home) / 'profile'}", f"--window-size={size[0]},{size[1]}"]
    with open(Path(home) / "chromium.log", "wb") as log:
        browser = subprocess.Popen([*words, str(viewer)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        drawn = []
        waiting = threading.Thread(target=lambda: drawn.append(viewer.screenshot(size=list(size))), daemon=True)
        waiting.start()
        waiting.join(LIMIT_S)
        if not drawn:
            raise TimeoutError(f"neuroglancer drew nothing in {LIMIT_S} s: {(Path(home) / 'chromium.log').read_text()[-1000:]}")
        return np.asarray(drawn[0].screenshot.image_pixels)[:, :, :3]
    finally:
        browser.terminate()
        browser.wait(20)
        neuroglancer.stop()
