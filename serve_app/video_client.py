"""A client of a server's videos: frames and files, frame by frame, through overload, cut connections and restarts.

    video = VideoClient("http://localhost:9001")
    for frame in video.file(Path("clip.mp4"), texts=["red circle"]):
        frame["frame"], frame["objects"]     # as in docs/video-http.md

    session = video.begin(texts=["red circle"])
    for frame in session.frames(pictures_of_a_camera()):
        ...
    session.end()

Needs neither torch nor Ray.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

SESSIONS = "/sam3/video/sessions"
ANSWER_S = 300.0
PATIENCE_S = 120.0
"""For so long a request is sent again."""
LONGEST_WAIT_S = 10.0
AGAIN = (429, 502, 503, 504)
LOOPBACK = ("localhost", "127.0.0.1", "::1")
Frame = Mapping[str, Any]
Prompts = Sequence[Mapping[str, Any]]


class VideoError(Exception):
    """The server refuses a request, or does not answer any more. status: None where it does not answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class VideoSession:
    """A session of a server. next_frame: the number of the frame that it expects."""

    session_id: str
    next_frame: int
    _ask: "Callable[..., Any]" = field(repr=False)
    _stream: "Callable[..., Iterator[dict[str, Any]]]" = field(repr=False)

    def frames(
        self, pictures: Iterable[bytes], prompts: Mapping[int, Prompts] | None = None, format: str = "rle"
    ) -> Iterator[Frame]:
        """The answers to picture files, in their order: each is sent when the answer before it has been read.

        prompts: of frames, by number. A picture is sent again where no answer came, and counts once. Raises VideoError.
        """
        for picture in pictures:
            fields: dict[str, Any] = {"frame": self.next_frame, "format": format}
            if given := (prompts or {}).get(self.next_frame):
                fields["prompts"] = list(given)
            parts = {"image": picture, "request": (None, json.dumps(fields), "application/json")}
            (frame,) = self._ask("POST", f"/{self.session_id}/frames", files=parts)["frames"]
            self.next_frame = frame["frame"] + 1
            yield frame

    def prompt(
        self, prompts: Prompts = (), texts: Sequence[str] = (), frame: int | None = None, format: str = "rle"
    ) -> Frame:
        """Begin, correct or remove objects in the frame that was answered last. Raises VideoError."""
        body = {
            "prompts": list(prompts),
            "texts": [{"text": text} for text in texts],
            "frame": frame,
            "format": format,
        }
        answer: Frame = self._ask("POST", f"/{self.session_id}/prompts", json=body)
        self.next_frame = answer["frame"] + 1
        return answer

    def propagate(self, last: int | None = None, format: str = "rle") -> Iterator[Frame]:
        """The answers of the session's video file, from the frame that it expects to the end, or to number `last`. A
        stream that is cut goes on where it was. Raises VideoError."""
        query = {"format": format, **({} if last is None else {"to": last})}
        for frame in self._stream(f"/{self.session_id}/propagate", query, self.next_frame):
            self.next_frame = frame["frame"] + 1
            yield frame

    def end(self) -> None:
        """End the session. Raises VideoError."""
        self._ask("DELETE", f"/{self.session_id}")


class VideoClient:
    """One server. Close it, or use it as a context manager."""

    def __init__(self, url: str, api_key: str | None = None, patience_s: float = PATIENCE_S) -> None:
        """patience_s: for so long a request is sent again that gets no answer, or one that says to come again."""
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # A proxy of the environment does not reach this machine's own servers.
        proxies = httpx.URL(url).host not in LOOPBACK
        self._http = httpx.Client(base_url=url, headers=headers, timeout=ANSWER_S, trust_env=proxies)
        self._patience_s = patience_s

    def __enter__(self) -> "VideoClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def begin(
        self,
        texts: Sequence[str] = (),
        video: Path | None = None,
        every: int | None = None,
        most_objects: int | None = None,
    ) -> VideoSession:
        """Begin a session. video: its file; without one, frames follow. Raises VideoError, OSError."""
        fields: dict[str, Any] = {"texts": [{"text": text} for text in texts]}
        fields |= {} if every is None else {"every": every}
        fields |= {} if most_objects is None else {"most_objects": most_objects}
        if video is None:
            found = self._ask("POST", "", json=fields)
        else:
            parts = {
                "video": (video.name, video.read_bytes()),
                "request": (None, json.dumps(fields), "application/json"),
            }
            found = self._ask("POST", "", files=parts)
        return VideoSession(found["session_id"], found["next_frame"], self._ask, self._stream)

    def resume(self, session_id: str) -> VideoSession:
        """A session that was begun earlier. Raises VideoError."""
        found = self._ask("GET", f"/{session_id}")
        return VideoSession(session_id, found["next_frame"], self._ask, self._stream)

    def file(
        self, video: Path, texts: Sequence[str] = (), every: int | None = None, format: str = "rle"
    ) -> Iterator[Frame]:
        """The answers of a video file, frame by frame; its session ends with them. Raises VideoError, OSError."""
        session = self.begin(texts, video, every)
        try:
            yield from session.propagate(format=format)
        finally:
            session.end()

    def _ask(self, method: str, path: str, **body: Any) -> Any:
        end = time.monotonic() + self._patience_s
        while True:
            try:
                answer = self._http.request(method, SESSIONS + path, **body)
            except httpx.TransportError as error:
                self._pause(end, VideoError(f"the server does not answer: {error}"))
                continue
            if answer.status_code == 200:
                return answer.json()
            self._after(end, answer)

    def _stream(self, path: str, query: Mapping[str, Any], first: int) -> Iterator[dict[str, Any]]:
        end = time.monotonic() + self._patience_s
        while True:
            try:
                with self._http.stream("POST", SESSIONS + path, params={**query, "from": first}) as answer:
                    if answer.status_code != 200:
                        answer.read()
                        self._after(end, answer)
                        continue
                    for line in answer.iter_lines():
                        found = json.loads(line)
                        if "done" in found:
                            return
                        if "error" in found:
                            told = found["error"]
                            self._pause(end, VideoError(told["message"], told["status"]), told["status"])
                            break
                        end = time.monotonic() + self._patience_s
                        first = found["frame"] + 1
                        yield found
            except (httpx.TransportError, json.JSONDecodeError) as error:
                self._pause(end, VideoError(f"the server does not answer: {error}"))

    def _after(self, end: float, answer: httpx.Response) -> None:
        """Wait after an answer that says to come again. Raises VideoError after any other."""
        error = VideoError(_message(answer), answer.status_code)
        self._pause(end, error, answer.status_code, answer.headers.get("Retry-After", ""))

    def _pause(self, end: float, error: VideoError, status: int | None = None, after: str = "") -> None:
        if (status is not None and status not in AGAIN) or time.monotonic() >= end:
            raise error
        time.sleep(min(float(after) if after.isdecimal() else 1.0, LONGEST_WAIT_S))


def _message(answer: httpx.Response) -> str:
    try:
        told = answer.json()
        return str(told.get("message") or "; ".join(str(one["msg"]) for one in told["detail"]))
    except (ValueError, AttributeError, TypeError, KeyError):
        return f"the server answered {answer.status_code}"
