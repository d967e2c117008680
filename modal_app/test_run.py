"""
Tests of the app without Modal, a GPU or MuseTalk: `python3 -m unittest modal_app/test_run.py`. Needs ffmpeg and ffprobe.
"""

import dataclasses
import inspect
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from contextlib import redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

APP = Path(__file__).resolve().parent
HELPERS = APP.parent / "test" / "helpers"
sys.path[:0] = [str(APP), str(HELPERS / "modal-stub")]
sys.dont_write_bytecode = True

import app  # noqa: E402
import inputs  # noqa: E402
import media  # noqa: E402
import run  # noqa: E402
from contract import FACES, SPEECHES, RunError, Settings, parse_arguments  # noqa: E402
from process import MuseTalk, OutputReader, Progress  # noqa: E402

SCHEMA = json.loads((APP.parent / "docs" / "function.schema.json").read_text())
ARGUMENTS = SCHEMA["$defs"]["arguments1"]["properties"]
SPEECH_SECONDS = 1.3


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments], check=True)


def streams(path: Path) -> dict[str, dict[str, Any]]:
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)], capture_output=True, check=True
    )
    return {stream["codec_type"]: stream for stream in json.loads(shown.stdout)["streams"]}


class Case(unittest.TestCase):
    """A folder for each test, with a copy of the stand-in for MuseTalk's checkout; what is printed is kept."""

    files: Path

    @classmethod
    def setUpClass(cls) -> None:
        cls.files = Path(tempfile.mkdtemp(prefix="files-"))
        cls.addClassCleanup(shutil.rmtree, cls.files)

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="run-"))
        self.addCleanup(shutil.rmtree, self.folder)
        checkout = self.folder / "MuseTalk"
        shutil.copytree(HELPERS / "musetalk", checkout)
        self.settings = Settings(
            checkout=checkout, results=self.folder / "results", fetch_seconds=10, stall_seconds=5, max_input_bytes=10**7
        )
        self.musetalk = MuseTalk(self.settings)
        self.addCleanup(self.musetalk.close)
        self.out, self.log = io.StringIO(), io.StringIO()
        for redirect in (redirect_stdout(self.out), redirect_stderr(self.log)):
            redirect.__enter__()
            self.addCleanup(redirect.__exit__, None, None, None)

    def make(self, name: str, *arguments: str) -> Path:
        """A file that is made once for all tests of a class."""
        path = self.files / name
        if not path.exists():
            ffmpeg(*arguments, str(path))
        return path

    def video(self, name: str = "face.mp4", rate: str = "25", seconds: float = 0.6, size: str = "64x48") -> bytes:
        source = f"testsrc=size={size}:rate={rate}:duration={seconds}"
        return self.make(name, "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p").read_bytes()

    def image(self, name: str = "face.png") -> bytes:
        source = "testsrc=size=65x49:rate=1:duration=1"
        return self.make(name, "-f", "lavfi", "-i", source, "-frames:v", "1").read_bytes()

    def speech(self, name: str = "speech.wav") -> bytes:
        return self.make(name, "-f", "lavfi", "-i", f"sine=duration={SPEECH_SECONDS}").read_bytes()

    def plan(self, **plan: Any) -> None:
        (self.settings.checkout / "plan.json").write_text(json.dumps(plan))

    def runs(self) -> list[dict[str, Any]]:
        """What reached MuseTalk's script."""
        path = self.settings.checkout / "runs.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def call(self, **arguments: Any) -> dict[str, str]:
        if not any(name.startswith("audio") for name in arguments):
            arguments["audio_bytes"] = self.speech()
        return run.run_inference(arguments, self.musetalk, self.settings)

    def succeed(self, **arguments: Any) -> Path:
        made = self.call(**arguments)
        self.assertEqual(made["status"], "succeeded", made)
        return Path(made["output_path"])

    def fail(self, words: str, **arguments: Any) -> None:  # type: ignore[override]
        made = self.call(**arguments)
        self.assertEqual(made["status"], "failed", made)
        self.assertRegex(made["error"], words)
        self.assertFalse(self.settings.results.exists())


class Arguments(unittest.TestCase):
    def refuse(self, words: str, **arguments: Any) -> None:
        with self.assertRaisesRegex(RunError, words):
            parse_arguments(arguments)

    def test_none_counts_as_absent_and_defaults_are_those_of_the_original_function(self) -> None:
        request = parse_arguments({"video_path": "data/a.mp4", "audio_url": "http://a/b.wav", "fps": None, "video_url": None})
        self.assertEqual(request.face, ("video_path", "data/a.mp4"))
        self.assertEqual((request.version, request.use_float16, request.parameters), ("v15", True, {}))

    def test_exactly_one_face_and_one_speech(self) -> None:
        self.refuse("face: exactly one .* found none", audio_path="a.wav")
        self.refuse("face: exactly one .* found video_path, image_bytes", video_path="a", image_bytes=b"a", audio_path="b")
        self.refuse("speech: exactly one .* found none", video_path="a.mp4")

    def test_an_input_of_the_wrong_type_or_an_empty_one_is_refused(self) -> None:
        self.refuse("video_bytes: must be bytes", video_bytes="text", audio_path="a.wav")
        self.refuse("video_url: must be a text", video_url=b"http://a/", audio_path="a.wav")
        self.refuse("audio_bytes: must be bytes", video_path="a.mp4", audio_bytes=b"")

    def test_a_path_has_no_character_that_a_shell_reads_and_leads_nowhere_else(self) -> None:
        for path in ("$(id).mp4", "a b.mp4", "../a.mp4", "/etc/passwd", "a//b.mp4", "-i.mp4", ".a", "a/.b", "ä.mp4", "a\n"):
            self.refuse("video_path: must be names", video_path=path, audio_path="a.wav")

    def test_every_parameter_of_the_schema_has_the_same_bounds_here(self) -> None:
        for name, rule in ARGUMENTS.items():
            if "minimum" not in rule:
                continue
            version = "v1" if name == "bbox_shift" else "v15"
            fixed = {"image_url": "http://a/a.png", "audio_path": "a.wav", "version": version}
            # MuseTalk's own bound is lower than that of the contract.
            top = min(rule["maximum"], 49) if name == "fps" else rule["maximum"]
            for value in (rule["minimum"], top):
                self.assertEqual(parse_arguments({**fixed, name: value}).parameters, {name: value})
            for value in (rule["minimum"] - 1, rule["maximum"] + 1, 1.5, True, "1"):
                self.refuse(f"{name}: must be a whole number", **fixed, **{name: value})

    def test_a_parameter_of_the_other_version_is_refused(self) -> None:
        fixed = {"image_path": None, "image_url": "http://a/a.png", "audio_path": "a.wav"}
        self.refuse("bbox_shift: only for version v1", **fixed, bbox_shift=3)
        for name in ("extra_margin", "left_cheek_width", "right_cheek_width"):
            self.refuse(f"{name}: only for version v15", **fixed, version="v1", **{name: 30})
        self.refuse("parsing_mode: only for version v15", **fixed, version="v1", parsing_mode="jaw")

    def test_what_is_unknown_is_refused(self) -> None:
        fixed = {"video_path": "a.mp4", "audio_path": "a.wav"}
        self.refuse("seed: unknown argument", **fixed, seed=1)
        self.refuse("version: must be one of", **fixed, version="v2")
        self.refuse("parsing_mode: must be one of", **fixed, parsing_mode="all")
        self.refuse("use_float16: must be true or false", **fixed, use_float16=1)

    def test_more_frames_a_second_than_musetalk_can_make_are_refused(self) -> None:
        self.refuse("fps: MuseTalk can make at most 49", image_url="http://a/a.png", audio_path="a.wav", fps=50)


class Runs(Case):
    def test_a_video_and_a_speech_become_a_video_as_long_as_the_speech(self) -> None:
        committed = []
        made = run.run_inference(
            {"video_bytes": self.video(), "audio_bytes": self.speech()},
            self.musetalk,
            self.settings,
            lambda: committed.append(sorted(self.settings.results.glob("*/*/*"))),
        )
        path = self.settings.results / made["job_id"] / "v15" / "output.mp4"
        self.assertEqual(made, {"job_id": made["job_id"], "status": "succeeded", "output_path": str(path)})
        self.assertEqual(committed, [[path]])
        found = streams(path)
        self.assertEqual((found["video"]["codec_name"], found["audio"]["codec_name"]), ("h264", "aac"))
        self.assertAlmostEqual(float(found["video"]["duration"]), SPEECH_SECONDS, delta=0.05)
        self.assertEqual(run.read_result(made["job_id"], "v15", self.settings), path.read_bytes())
        # The index of the file comes first, so that it plays while it is loaded.
        self.assertLess(path.read_bytes().index(b"moov"), path.read_bytes().index(b"mdat"))

    def test_temporary_files_are_removed_after_a_success_and_a_failure(self) -> None:
        self.succeed(video_bytes=self.video())
        self.plan(error="no")
        made = self.call(video_bytes=self.video())
        self.assertEqual(made["status"], "failed")
        folders = {Path(seen["args"]["result_dir"]).parent for seen in self.runs()}
        self.assertEqual(len(folders), 2)
        self.assertFalse(any(folder.exists() for folder in folders))

    def test_inputs_have_fixed_names_and_the_models_are_those_of_the_version(self) -> None:
        self.succeed(video_bytes=self.video(), version="v1", bbox_shift=-7)
        self.succeed(image_bytes=self.image())
        one, two = self.runs()
        for seen, face in ((one, "face.mp4"), (two, "face.png")):
            task = seen["config"]["task_0"]
            self.assertEqual([Path(task[name]).name for name in ("video_path", "audio_path")], [face, "speech.wav"])
        self.assertEqual(one["args"]["unet_model_path"], "models/musetalk/pytorch_model.bin")
        self.assertEqual(one["args"]["unet_config"], "models/musetalk/musetalk.json")
        self.assertEqual(two["args"]["unet_model_path"], "models/musetalkV15/unet.pth")
        self.assertEqual(one["config"]["task_0"]["bbox_shift"], -7)
        self.assertNotIn("bbox_shift", two["config"]["task_0"])

    def test_every_parameter_reaches_the_script(self) -> None:
        given = {
            "extra_margin": 0,
            "parsing_mode": "neck",
            "left_cheek_width": 20,
            "right_cheek_width": 160,
            "batch_size": 3,
            "fps": 12,
            "use_float16": False,
        }
        path = self.succeed(image_bytes=self.image(), **given)
        args = self.runs()[0]["args"]
        self.assertEqual({name: args[name] for name in given}, given)
        self.assertEqual(streams(path)["video"]["avg_frame_rate"], "12/1")
        # bbox_shift is in the configuration, see above. Nothing else is in the contract.
        self.assertEqual({*given, "bbox_shift"}, {*ARGUMENTS} - {*FACES, *SPEECHES, "version"})

    def test_a_still_of_any_format_and_size(self) -> None:
        for name in ("odd.jpg", "odd.webp", "odd.bmp", "odd.tiff", "odd.gif"):
            with self.subTest(name):
                source = self.folder / "face.input"
                source.write_bytes(self.image(name))
                self.assertTrue(inputs.is_image(source))
                face = media.prepare_still("image", source, self.folder, None)
                picture = streams(face.path)["video"]
                self.assertEqual((picture["codec_name"], picture["width"], picture["height"]), ("png", 64, 48))

    def test_a_photo_that_was_taken_upright_stays_upright(self) -> None:
        # EXIF with one entry: orientation 6, a quarter turn.
        tiff = b"MM\x00*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, 6, 0, 0)
        segment = b"Exif\x00\x00" + tiff
        photo = self.image("photo.jpg")
        source = self.folder / "face.input"
        source.write_bytes(photo[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + photo[2:])
        picture = streams(media.prepare_still("image", source, self.folder, None).path)["video"]
        self.assertEqual((picture["width"], picture["height"]), (48, 64))

    def test_a_video_gets_whole_frames_a_second_at_most_30(self) -> None:
        speech = media.Speech(self.folder / "none", SPEECH_SECONDS)
        for rate, expected in (("30000/1001", 30), ("50", 25), ("24000/1001", 24), ("60", 30), ("12", 12)):
            with self.subTest(rate):
                name = f"rate-{rate.replace('/', '-')}.mp4"
                self.video(name, rate)
                face = media.prepare_video("video", self.files / name, speech, self.folder)
                self.assertEqual((face.fps, streams(face.path)["video"]["avg_frame_rate"]), (expected, f"{expected}/1"))

    def test_a_video_of_oblong_pixels_keeps_its_shape(self) -> None:
        self.make("oblong.mp4", "-f", "lavfi", "-i", "testsrc=size=64x48:duration=1,setsar=2", "-pix_fmt", "yuv420p")
        speech = media.Speech(self.folder / "none", SPEECH_SECONDS)
        picture = streams(media.prepare_video("video", self.files / "oblong.mp4", speech, self.folder).path)["video"]
        self.assertEqual((picture["width"], picture["height"]), (128, 48))

    def test_a_video_longer_than_the_speech_is_cut_before_musetalk_reads_it(self) -> None:
        seen = []
        script = run.script_arguments
        self.addCleanup(setattr, run, "script_arguments", script)

        def record(request: Any, face: Path, *others: Any) -> list[str]:
            seen.append(int(streams(face)["video"]["nb_frames"]))
            return script(request, face, *others)

        run.script_arguments = record
        self.succeed(video_bytes=self.video("long.mp4", seconds=4))
        self.assertEqual(seen, [33])

    def test_other_containers_and_the_sound_of_a_video(self) -> None:
        webm = self.make("face.webm", "-f", "lavfi", "-i", "testsrc=size=66x50:rate=10:duration=1", "-c:v", "libvpx")
        sine = ("-f", "lavfi", "-i", "sine=duration=1")
        movie = self.make("speech.mov", "-f", "lavfi", "-i", "testsrc=size=64x48:duration=1", *sine, "-ac", "6")
        ogg, mp3 = self.make("speech.ogg", *sine), self.make("speech.mp3", *sine)
        for speech in (movie, ogg, mp3):
            with self.subTest(speech.name):
                found = media.prepare_speech("audio", speech, self.folder, self.settings)
                self.assertAlmostEqual(found.seconds, 1, delta=0.1)
        self.succeed(video_bytes=webm.read_bytes(), audio_bytes=movie.read_bytes())

    def test_paths_are_those_of_the_checkout_and_nothing_else(self) -> None:
        data = self.settings.checkout / "data"
        data.mkdir()
        (data / "face.any").write_bytes(self.image())
        (data / "speech.wav").write_bytes(self.speech())
        (data / "outside").symlink_to(self.make("face.mp4"))
        self.fail("video_path: no such file", video_path="data/outside")
        self.fail("audio_path: no such file", video_path="data/face.any", audio_path="data/none.wav")
        # Its content says what it is.
        self.succeed(video_path="data/face.any", audio_path="data/speech.wav", fps=5)
        self.assertTrue(self.runs()[0]["config"]["task_0"]["video_path"].endswith("face.png"))

    def test_fps_of_a_video_is_refused(self) -> None:
        self.fail("fps: only for a still image", video_bytes=self.video(), fps=20)

    def test_what_is_no_media_file_is_refused_by_its_content(self) -> None:
        secret = self.folder / "secret.wav"
        secret.write_bytes(self.speech())
        playlist = f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n".encode()
        for content in (b"<!doctype html><html>", playlist, b"ffconcat version 1.0\nfile secret.wav\n"):
            self.fail("audio_bytes: not a video, image or sound", video_bytes=self.video(), audio_bytes=content)
        # Also one that begins as something else.
        disguised = b"G" * 189 + playlist
        self.fail("audio_bytes: has no sound", video_bytes=self.video(), audio_bytes=disguised)
        self.fail("video_bytes: has no picture", video_bytes=self.speech())
        self.fail("audio_bytes: has no sound", video_bytes=self.video(), audio_bytes=self.video())
        self.fail("video_bytes: (has no picture|cannot be decoded)", video_bytes=self.video()[:600])
        self.assertEqual(self.runs(), [])

    def test_what_is_too_large_too_long_or_too_short_is_refused(self) -> None:
        self.settings = dataclasses.replace(self.settings, max_speech_seconds=1)
        self.fail("audio_bytes: longer than 1 s", video_bytes=self.video())
        self.settings = dataclasses.replace(self.settings, max_speech_seconds=60, max_input_bytes=1000)
        self.fail("audio_bytes: larger than", video_bytes=self.video())
        self.settings = dataclasses.replace(self.settings, max_input_bytes=10**7)
        short = self.make("short.wav", "-f", "lavfi", "-i", "sine=duration=0.05").read_bytes()
        self.fail("audio_bytes: shorter than", video_bytes=self.video(), audio_bytes=short)
        self.settings = dataclasses.replace(self.settings, max_frames_bytes=10**6)
        self.fail(r"video_bytes: its 15 frames need 0\.0 GiB of memory", video_bytes=self.video())
        self.assertEqual(self.runs(), [])

    def test_what_musetalk_prints_and_hides_becomes_the_error(self) -> None:
        cases: tuple[tuple[dict[str, Any], str], ...] = (
            ({"error": "CUDA out of memory"}, "MuseTalk failed: CUDA out of memory"),
            ({"faceless": True}, "MuseTalk failed: no face was found"),
            ({"no_output": True}, "MuseTalk made no video: .*Results saved"),
            ({"silent": True}, "MuseTalk's video has no sound"),
            ({"seconds": 0.9}, "not as long as the speech: the picture lasts 0.9. s, the speech 1.3. s; frames without a face"),
            ({"raise_outside": "no weights"}, "MuseTalk failed: the script ended with no weights"),
            ({"exit": 137}, "MuseTalk's process ended with code 137"),
        )
        for plan, words in cases:
            with self.subTest(plan):
                self.plan(**plan)
                self.fail(words, video_bytes=self.video())
        self.plan()
        self.succeed(video_bytes=self.video())

    def test_a_short_picture_or_an_error_of_a_still_fails_too(self) -> None:
        self.plan(seconds=0.9)
        self.fail("not as long as the speech", image_bytes=self.image())
        self.plan(error="no")
        self.fail("MuseTalk failed: no", image_bytes=self.image())

    def test_an_id_that_names_no_video_is_refused(self) -> None:
        for job_id, version in (("../../etc", "v15"), ("a" * 32, "v2"), ("", "v15")):
            with self.assertRaises(ValueError):
                run.read_result(job_id, version, self.settings)
        with self.assertRaisesRegex(FileNotFoundError, "there is no video of run a"):
            run.read_result("a" * 32, "v15", self.settings)


class WarmProcess(Case):
    def loads(self) -> list[str]:
        return [line.split("/")[-2] for line in self.log.getvalue().splitlines() if line.startswith("load unet")]

    def test_models_are_loaded_once_and_again_only_for_another_version_or_precision(self) -> None:
        self.musetalk.start()
        self.assertEqual(self.loads(), ["musetalkV15"])
        for _ in range(2):
            self.succeed(video_bytes=self.video())
        self.assertEqual(self.loads(), ["musetalkV15"])
        self.succeed(video_bytes=self.video(), use_float16=False)
        self.assertEqual(self.loads(), ["musetalkV15"] * 2)
        self.succeed(video_bytes=self.video(), version="v1")
        self.assertEqual(self.loads(), ["musetalkV15", "musetalkV15", "musetalk"])
        self.assertEqual(self.log.getvalue().count("preprocessing loads its models"), 1)

    def test_after_a_failure_the_process_is_a_new_one(self) -> None:
        self.plan(error="CUDA error")
        self.call(video_bytes=self.video())
        self.plan()
        self.succeed(video_bytes=self.video())
        self.assertEqual(self.loads(), ["musetalkV15"] * 2)

    def test_models_that_cannot_be_loaded_are_an_error(self) -> None:
        (self.settings.checkout / "musetalk/utils/preprocessing.py").write_text("raise OSError('no such weights')")
        self.fail("MuseTalk failed: the models cannot be loaded: no such weights", video_bytes=self.video())

    def test_musetalk_gets_no_credentials(self) -> None:
        for name in ("MODAL_TOKEN_SECRET", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "AWS_ACCESS_KEY_ID"):
            os.environ[name] = "secret value"
            self.addCleanup(os.environ.pop, name)
        self.succeed(video_bytes=self.video())
        self.assertNotIn("secret value", json.dumps(self.runs()))

    def test_a_cancellation_kills_musetalk_and_what_it_started(self) -> None:
        class Cancelled(BaseException):
            """As Modal raises one in the main thread."""

        def log(line: str) -> None:
            if line == "it hangs":
                raise Cancelled

        self.plan(hang=True)
        pipe = self.settings.checkout / "alive"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        speech, face = self.folder / "s.wav", self.folder / "f.mp4"
        request = parse_arguments({"video_bytes": b"a", "audio_bytes": b"a"})
        with self.assertRaises(Cancelled):
            self.musetalk.run(run.script_arguments(request, face, speech, self.folder), OutputReader(Progress(), log))
        # The pipe ends when the last process that holds it has.
        os.set_blocking(reader, True)
        self.assertEqual(os.read(reader, 1), b"")


class ProgressLines(Case):
    def test_a_run_prints_its_steps_as_the_schema_has_them(self) -> None:
        lines: list[str] = []
        reader = OutputReader(Progress(lines.append, iter(range(10**6)).__next__), lambda line: None)
        request = parse_arguments({"video_bytes": b"a", "audio_bytes": b"a"})
        speech, face = self.make("speech.wav", "-f", "lavfi", "-i", f"sine=duration={SPEECH_SECONDS}"), self.folder / "f.mp4"
        face.write_bytes(self.video())
        self.musetalk.run(run.script_arguments(request, face, speech, self.folder), reader)
        steps = [json.loads(line)["musetalk"] for line in lines]
        self.assertIn({"step": "landmarks", "done": 20, "total": 20}, steps)
        order = list(dict.fromkeys(step["step"] for step in steps))
        self.assertEqual(order, ["frames", "landmarks", "lips", "blending", "encoding"])
        rule = SCHEMA["$defs"]["progress"]["properties"]["musetalk"]
        for step in steps:
            self.assertLessEqual({*step}, {*rule["properties"]})
            self.assertTrue(all(isinstance(step.get(name, 0), int) for name in ("done", "total")))

    def test_at_most_one_line_a_second(self) -> None:
        lines: list[str] = []
        times = iter([0.0, 0.5, 0.99, 1.0, 1.5, 2.5])
        progress = Progress(lines.append, times.__next__)
        for done in range(6):
            progress.report("landmarks", done, 6)
        self.assertEqual([json.loads(line)["musetalk"]["done"] for line in lines], [0, 3, 5])

    def test_bars_are_not_in_the_log_and_everything_else_is(self) -> None:
        self.succeed(video_bytes=self.video())
        self.assertNotIn("%|", self.log.getvalue())
        self.assertIn("Starting inference", self.log.getvalue())
        self.assertEqual(json.loads(self.out.getvalue().splitlines()[0]), {"musetalk": {"step": "inputs"}})


class Site(BaseHTTPRequestHandler):
    """Answers as the first word of the path says."""

    protocol_version = "HTTP/1.1"
    content = b""
    seen: list[str] = []

    def do_GET(self) -> None:
        type(self).seen.append(self.path)
        word, _, rest = self.path.partition("?")[0].strip("/").partition("/")
        if word == "redirect":
            count = int(rest)
            self.answer(302, b"", Location=f"/redirect/{count - 1}" if count > 1 else "/file")
        elif word == "elsewhere":
            self.answer(302, b"", Location="file:///etc/passwd")
        elif word == "file" or (word == "flaky" and type(self).seen.count(self.path) == 3):
            self.answer(200, type(self).content)
        elif word == "short":
            self.answer(200, type(self).content, **{"Content-Length": str(len(type(self).content) + 1)})
            self.close_connection = True
        elif word == "endless":
            self.chunks(b"\x00" * 65536, pause=0)
        elif word == "slow":
            self.chunks(b"RIFF", pause=0.05)
        else:
            self.answer(503 if word == "flaky" else int(word), b"")

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def chunks(self, piece: bytes, pause: float) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                time.sleep(pause)
        except OSError:
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


class Fetching(Case):
    def setUp(self) -> None:
        super().setUp()
        pause, inputs.FETCH_PAUSE_SECONDS = inputs.FETCH_PAUSE_SECONDS, 0.01
        self.addCleanup(setattr, inputs, "FETCH_PAUSE_SECONDS", pause)
        Site.content, Site.seen = self.speech(), []
        server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.origin = f"http://127.0.0.1:{server.server_port}"
        self.target = self.folder / "input"

    def fetch(self, path: str) -> None:
        inputs.open_input("audio_url", path if ":" in path else self.origin + path, self.target, self.settings)

    def refuse(self, path: str, words: str) -> None:
        with self.assertRaisesRegex(RunError, words) as caught:
            self.fetch(path)
        # A URL may be signed: only its host is in the error.
        self.assertNotIn("token", str(caught.exception))

    def test_a_url_is_fetched_redirects_included(self) -> None:
        self.succeed(video_bytes=self.video(), audio_url=f"{self.origin}/redirect/5")
        self.fetch("/file?token=1")
        self.assertEqual(self.target.read_bytes(), Site.content)

    def test_more_redirects_or_one_to_another_scheme_are_refused(self) -> None:
        self.refuse("/redirect/7?token=1", "audio_url: cannot be fetched from 127.0.0.1: more than 5 redirects")
        self.refuse("/elsewhere", "or one to something else than http or https")
        self.refuse("file:///etc/passwd", "only http and https")
        self.refuse("ftp://127.0.0.1/token", "only http and https")
        self.refuse("http://[token", "audio_url: no valid URL")

    def test_what_may_pass_is_tried_again_and_what_will_not_is_not(self) -> None:
        self.fetch("/flaky")
        self.assertEqual(Site.seen, ["/flaky"] * 3)
        for status, requests in ((404, 1), (403, 1), (503, 3), (429, 3)):
            Site.seen.clear()
            self.refuse(f"/{status}?token=1", f"audio_url: cannot be fetched from 127.0.0.1: status {status}")
            self.assertEqual(len(Site.seen), requests)

    def test_a_body_that_ends_early_is_refused(self) -> None:
        self.refuse("/short", r"\d+ of \d+ bytes came|connection broke")

    def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(self) -> None:
        self.settings = dataclasses.replace(self.settings, max_input_bytes=100_000)
        self.refuse("/file", "larger than")
        self.assertFalse(self.target.exists() and self.target.stat().st_size > 0)
        self.refuse("/endless", "larger than")

    def test_a_slow_body_ends_at_the_time_limit(self) -> None:
        self.settings = dataclasses.replace(self.settings, fetch_seconds=0.3)
        self.refuse("/slow", "it took longer than 0.3 s")

    def test_a_host_that_does_not_answer_is_an_error(self) -> None:
        self.refuse("http://127.0.0.1:1/token", "audio_url: cannot be fetched from 127.0.0.1: .*refused")


class Command(Case):
    def run_command(self, *options: str) -> "subprocess.CompletedProcess[str]":
        face, audio = self.make("face.mp4"), self.make("speech.wav")
        command = [sys.executable, str(APP / "run.py"), "--face", str(face), "--audio", str(audio)]
        command += ["--output", str(self.folder / "made.mp4"), "--checkout", str(self.settings.checkout), *options]
        return subprocess.run(command, capture_output=True, text=True)

    def setUp(self) -> None:
        super().setUp()
        self.video(), self.speech()

    def test_a_video_is_made_with_the_options_that_have_a_value(self) -> None:
        done = self.run_command("--extra_margin", "12", "--use_float16", "false", "--version", "v15")
        self.assertEqual(done.returncode, 0, done.stderr)
        args = self.runs()[0]["args"]
        self.assertEqual((args["extra_margin"], args["batch_size"], args["use_float16"]), (12, 8, False))
        self.assertIn("audio", streams(self.folder / "made.mp4"))
        # The server reads the log from stderr; progress is on stdout.
        self.assertIn("Starting inference", done.stderr)
        self.assertTrue(all(line.startswith('{"musetalk"') for line in done.stdout.splitlines()))

    def test_a_failure_is_the_last_line_and_the_exit_code(self) -> None:
        self.plan(error="CUDA out of memory")
        done = self.run_command()
        self.assertEqual((done.returncode, done.stderr.splitlines()[-1]), (1, "MuseTalk failed: CUDA out of memory"))
        done = self.run_command("--bbox_shift", "2")
        self.assertEqual(done.stderr.splitlines()[-1], "bbox_shift: only for version v1")


class EntryPoint(Case):
    def test_modal_run_makes_a_video_of_two_files_or_of_those_of_musetalk(self) -> None:
        volume = self.folder / "volume"
        os.environ["MODAL_STUB_VOLUME"] = str(volume)
        self.addCleanup(os.environ.pop, "MODAL_STUB_VOLUME")
        for name, value in (("SETTINGS", self.settings), ("musetalk", self.musetalk)):
            self.addCleanup(setattr, app, name, getattr(app, name))
            setattr(app, name, value)
        app.volume.mount = self.settings.results
        self.video(), self.speech()
        output = self.folder / "video.mp4"
        app.main(str(self.files / "face.mp4"), str(self.files / "speech.wav"), str(output))
        self.assertIn("video", streams(output))
        self.assertEqual(len([*volume.glob("*/v15/output.mp4")]), 1)
        with self.assertRaisesRegex(SystemExit, "failed: audio_path: no such file"):
            app.main(output=str(output))


class Declared(unittest.TestCase):
    """What app.py declares, by the stub of Modal."""

    def test_the_app_has_the_names_that_the_server_has_as_defaults(self) -> None:
        self.assertEqual(app.app.name, "musetalk-poc")
        self.assertEqual({*app.app.functions}, {"run_inference", "download_result"})
        self.assertEqual({*app.app.classes}, {"MuseTalk"})
        self.assertEqual(app.app.entrypoints, ["main"])

    def test_nothing_is_repeated_by_modal_and_the_gpu_has_the_memory_it_needs(self) -> None:
        declared, options = app.app.classes["MuseTalk"]
        function = app.app.functions["run_inference"].options
        self.assertEqual(function, options)
        self.assertEqual((options["retries"], app.app.functions["download_result"].options["retries"]), (0, 0))
        for name in ("gpu", "cpu", "memory", "max_containers", "scaledown_window", "timeout"):
            self.assertTrue(options[name], name)
        self.assertNotIn("routing_region", options)
        needed = app.SETTINGS.max_frames_bytes + app.MODELS_MIB * 1024**2
        self.assertLessEqual(needed, options["memory"][1] * 1024**2)
        marks = {name: getattr(value, "modal", None) for name, value in vars(declared).items()}
        self.assertEqual((marks["load_models"], marks["run_inference"], marks["end"]), ("enter", "method", "exit"))

    def test_the_signatures_are_the_contract(self) -> None:
        function = inspect.signature(app.run_inference.raw).parameters
        method = dict(inspect.signature(app.MuseTalk.run_inference).parameters)
        del method["self"]
        self.assertEqual(dict(function), method)
        self.assertEqual({*function}, {*ARGUMENTS})
        self.assertTrue(all(one.kind is one.KEYWORD_ONLY and one.default is not one.empty for one in function.values()))
        download = inspect.signature(app.download_result.raw).parameters
        self.assertEqual([*download], [*SCHEMA["$defs"]["download"]["properties"]])

    def test_the_images_have_what_the_code_needs(self) -> None:
        for declared in (app.image, app.small_image):
            packages = [package for step in declared.steps if step[0] == "pip_install" for package in step[1]]
            self.assertIn("cbor2", packages)
            sources = [step for step in declared.steps if step[0] == "add_local_python_source"]
            self.assertEqual(sources, [("add_local_python_source", app.SOURCES, False)])
        files = {path.stem for path in APP.glob("*.py")} - {"app", "test_run", "weights"}
        self.assertEqual({*app.SOURCES}, files)
        [(_, weights, where, is_copied)] = [step for step in app.image.steps if step[0] == "add_local_file"]
        self.assertTrue(weights.is_file() and is_copied)
        commands = [command for step in app.image.steps if step[0] == "run_commands" for command in step[1]]
        self.assertIn(f"python {where} /opt/MuseTalk", commands)

    def test_a_bucket_takes_the_place_of_the_volume(self) -> None:
        source = (APP / "app.py").read_text().replace("BUCKET: str | None = None", 'BUCKET: str | None = "videos"')
        changed: dict[str, Any] = {"__name__": "changed", "__file__": str(APP / "app.py")}
        exec(compile(source, "changed", "exec"), changed)
        self.assertIsNone(changed["volume"])
        mounted = changed["run_inference"].options["volumes"]["/shared"]
        self.assertEqual((mounted.bucket_name, mounted.secret.name), ("videos", "musetalk-bucket"))
        changed["commit"]()


if __name__ == "__main__":
    unittest.main()
