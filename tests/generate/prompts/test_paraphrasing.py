"""Providers against a server on this machine, and a tiny model with random weights."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from generate.errors import StudyError
from generate.prompts import endpoint
from generate.prompts.checks import check
from generate.prompts.endpoint import Endpoint, checked_url, key_from
from generate.prompts.files import read_prompts
from generate.prompts.paraphrasing import Answers, with_paraphrases
from generate.prompts.transformers_model import TransformersModel
from schemas.study import LengthClass, Prompt
from tests.generate.prompts.conftest import Command, wordings

KEY = "sk-very-secret-0123456789"
FOX = Prompt(id="fox", text="the fox")


@dataclass
class Server:
    """An endpoint. `script` holds how to treat the next requests; after it, each gets what it asks for."""

    script: list[Any] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    url: str = ""


def completion(content: Any) -> str:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]})


def well_answered(request: str, turn: int) -> str:
    """Five numbered lines in the length class asked for."""
    length: LengthClass = (
        "short" if "1 to 12" in request else "medium" if "13 to 22" in request else "long"
    )
    subject = request.split("Prompt: ")[1].split("\n")[0].removeprefix("the ")
    lines = wordings(f"{subject} {length}", length, 5 * turn)[-5:]
    return "\n".join(f"{i}. {line}" for i, line in enumerate(lines, start=1))


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.requests.append(body)
            state.headers.append(dict(self.headers))
            state.times.append(time.monotonic())
            step = state.script.pop(0) if state.script else (200, None, {})
            status, text, headers = step
            if status == "hang":
                time.sleep(1.5)
                return
            text = (
                completion(well_answered(body["messages"][0]["content"], 1))
                if text is None
                else text
            )
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}/v1"
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def of(server: Server, **changes: Any) -> Endpoint:
    settings = {"backoff": 0.01, "per_minute": 1e9, "timeout": 5.0, **changes}
    return Endpoint(server.url, "some-model", KEY, **settings)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits that were asked for, none of which is kept."""
    asked: list[float] = []
    monkeypatch.setattr(endpoint.time, "sleep", asked.append)
    return asked


def test_a_chat_completion_is_asked_for_with_the_key_in_its_header(server: Server) -> None:
    server.script = [(200, completion("hello"), {})]
    assert of(server, temperature=0.7).answer("say hello", seed=3) == "hello"
    assert server.requests == [
        {
            "model": "some-model",
            "messages": [{"role": "user", "content": "say hello"}],
            "seed": 3,
            "temperature": 0.7,
        }
    ]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_failures_that_may_pass_are_repeated_with_growing_waits(
    server: Server, pauses: list[float], status: int
) -> None:
    server.script = [(status, "busy", {})] * 3 + [(200, completion("at last"), {})]
    assert of(server, backoff=1.0).answer("x", 0) == "at last"
    waits = [pause for pause in pauses if pause]
    assert len(server.requests) == 4
    assert waits == pytest.approx([1.0, 2.0, 4.0], rel=0.25)
    assert all(wait >= least for wait, least in zip(waits, (1.0, 2.0, 4.0), strict=True))


def test_retry_after_is_honoured_in_seconds_and_as_a_date(
    server: Server, pauses: list[float]
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    server.script = [
        (429, "", {"Retry-After": "7"}),
        (503, "", {"Retry-After": date}),
        (200, completion("yes"), {}),
    ]
    assert of(server).answer("x", 0) == "yes"
    waits = [pause for pause in pauses if pause]
    assert waits[0] == 7.0
    assert waits[1] == pytest.approx(90.0, abs=5.0)


def test_an_endpoint_that_asks_for_too_long_a_wait_ends_the_command(
    server: Server, pauses: list[float]
) -> None:
    server.script = [(429, "", {"Retry-After": "86400"})]
    with pytest.raises(
        StudyError, match=r"asks to wait 86400 s \(status 429\); answers so far are kept"
    ):
        of(server).answer("x", 0)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "bad",
    ["{not json", "[]", '{"choices": []}', completion(None), "<html>gateway</html>"],
    ids=range(5),
)
def test_an_answer_that_is_no_chat_completion_is_asked_for_again(
    server: Server, pauses: list[float], bad: str
) -> None:
    server.script = [(200, bad, {}), (200, completion("good"), {})]
    assert of(server).answer("x", 0) == "good"


def test_a_time_out_is_repeated(server: Server) -> None:
    server.script = [("hang", "", {}), (200, completion("good"), {})]
    assert of(server, timeout=1.0).answer("x", 0) == "good"


def test_what_never_passes_ends_in_one_line(server: Server, pauses: list[float]) -> None:
    server.script = [(200, "{not json", {})] * 3
    with pytest.raises(
        StudyError, match=r"failed 3 times, at last with: an answer that is no chat completion"
    ) as error:
        of(server, attempts=3).answer("x", 0)
    assert "\n" not in str(error.value)
    gone = Endpoint("http://127.0.0.1:9/v1", "m", KEY, attempts=2)
    with pytest.raises(
        StudyError, match=r"failed 2 times, at last with: no connection. Answers so far are kept"
    ):
        gone.answer("x", 0)


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refusal_is_not_repeated_and_never_shows_the_key(server: Server, status: int) -> None:
    server.script = [(status, f"wrong key {KEY}\nor model", {})]
    with pytest.raises(
        StudyError, match=rf"answered with status {status}: wrong key \*\*\* or model"
    ):
        of(server).answer("x", 0)
    assert len(server.requests) == 1


def test_requests_keep_the_rate(server: Server) -> None:
    server.script = [(200, completion("a"), {})] * 3
    model = of(server, per_minute=600.0)
    for seed in range(3):
        model.answer("x", seed)
    assert min(b - a for a, b in zip(server.times, server.times[1:], strict=False)) > 0.08


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            f"https://api.example.org/v1?api_key={KEY}",
            "api.example.org holds a user, a query or a fragment",
        ),
        (
            f"https://user:{KEY}@api.example.org/v1",
            "api.example.org holds a user, a query or a fragment",
        ),
        (
            f"https://api.example.org/v1#{KEY}",
            "api.example.org holds a user, a query or a fragment",
        ),
        ("api.example.org/v1", "must begin with https://"),
        ("https://[", "must begin with https://"),
    ],
)
def test_a_url_that_could_hold_a_key_is_refused_without_repeating_it(
    url: str, message: str
) -> None:
    with pytest.raises(StudyError, match=message.replace(".", r"\.")) as error:
        checked_url(url)
    assert KEY not in str(error.value)


def test_the_key_is_in_no_representation(server: Server) -> None:
    assert KEY not in repr(of(server))
    assert KEY not in of(server).name


def test_an_endpoint_without_a_key_says_which_variable_it_wants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(
        StudyError, match="environment variable SOME_KEY is not set: set it, name another"
    ):
        key_from("SOME_KEY")
    assert key_from("none") == ""


def test_a_build_interrupted_by_a_dead_endpoint_resumes_without_asking_twice(
    server: Server, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The whole command; the server echoes the key wherever it can."""
    monkeypatch.setenv("SOME_KEY", KEY)
    monkeypatch.setattr(endpoint.time, "sleep", lambda _: None)
    (tmp_path / "base.csv").write_text("id,text\nfox,the fox\nharbour,the harbour\n")
    arguments = (
        "build", "--source", tmp_path / "base.csv", "--out", tmp_path / "set.jsonl", "--paraphrase", "endpoint",
        "--model", "some-model", "--url", server.url, "--key-from", "SOME_KEY", "--per-minute", 1e6,
    )  # fmt: skip
    echo = well_answered("1 to 12\nPrompt: the fox", 1) + f"\n6. your key is {KEY}"
    server.script = [(200, completion(echo), {}), (200, None, {}), (401, KEY, {})]
    status, out, err = command(*arguments)
    assert status == 1
    assert "answered with status 401: ***" in err
    assert not (tmp_path / "set.jsonl").exists()
    assert len(server.requests) == 3
    asked_before = [request["messages"] for request in server.requests[:2]]

    status, resumed_out, resumed_err = command(*arguments)
    assert status == 0
    assert len(server.requests) == 3 + 4
    assert all(request["messages"] not in asked_before for request in server.requests[2:])
    assert check(read_prompts(tmp_path / "set.jsonl")) == []

    record = json.loads((tmp_path / "set.record.json").read_text())
    assert record["model"] == f"some-model at {server.url}"
    assert record["n_prompts"] == 2
    everything = (
        out + err + resumed_out + resumed_err + "".join(p.read_text() for p in tmp_path.iterdir())
    )
    assert KEY not in everything


def test_lines_that_do_not_count_are_asked_for_again(server: Server, tmp_path: Path) -> None:
    """A preamble, a duplicate, a text of another length, an empty line, another colour, another number."""
    lines = [
        "Sure, here they are:",
        "1. The FOX!",
        "2. ",
        "3. " + " ".join(["word"] * 14),
        "4. red fox",
        "5. foxes, three",
    ]
    first = "\n".join(
        [*lines, "6. fox one", "7) fox two", '8. "fox two"', "**9.** fox is here", "A remark."]
    )
    server.script = [
        (200, completion(first), {}),
        (200, completion("1. fox one\n2. fox b\n3. fox c\n4. fox d"), {}),
    ]
    (found,) = with_paraphrases(
        [FOX], of(server), Answers(tmp_path / "answers.jsonl"), per_length=5
    )
    assert found.paraphrases.short == ["fox one", "fox is here", "fox b", "fox c", "fox d"]
    assert (
        "Do not repeat any of these:\n- fox one\n- fox is here"
        in server.requests[1]["messages"][0]["content"]
    )


def test_paraphrases_a_prompt_has_are_kept(server: Server, tmp_path: Path) -> None:
    own = wordings("fox own", "short", 5)
    prompt = Prompt.model_validate({"id": "fox", "text": "the fox", "paraphrases": {"short": own}})
    (found,) = with_paraphrases(
        [prompt], of(server), Answers(tmp_path / "answers.jsonl"), per_length=5
    )
    assert found.paraphrases.short == own
    assert len(server.requests) == 2


def test_a_model_that_cannot_do_it_is_given_up_in_one_line(server: Server, tmp_path: Path) -> None:
    server.script = [(200, completion("I cannot help with that."), {})] * 4
    with pytest.raises(
        StudyError, match="gave 0 usable short paraphrases of prompt 'fox' in 4 rounds, 5 are"
    ):
        with_paraphrases([FOX], of(server), Answers(tmp_path / "answers.jsonl"), per_length=5)


def test_an_answer_cut_off_by_a_kill_is_asked_for_again(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    model = of(server)
    Answers(path).get(model, "Rewrite in 1 to 12\nPrompt: the fox", 0)
    whole = path.read_text()
    path.write_text(whole + whole[:30])
    again = Answers(path)
    again.get(model, "Rewrite in 1 to 12\nPrompt: the fox", 0)
    again.get(model, "Rewrite in 1 to 12\nPrompt: the owl", 0)
    assert len(server.requests) == 2
    assert len(path.read_text().splitlines()) == 2
    path.write_text("something else\n")
    with pytest.raises(StudyError, match="does not hold recorded answers"):
        Answers(path)


# transformers


@pytest.fixture
def random_gpt2(tmp_path: Path) -> Path:
    """GPT-2 with random weights over thirty words and a line break: it babbles lines of words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    words = [f"▁w{i}" for i in range(30)] + ["<unk>", "<end>", "\n1."]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    folder = tmp_path / "gpt2"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>"
    ).save_pretrained(folder)
    config = GPT2Config(
        vocab_size=len(words),
        n_positions=1024,
        n_embd=8,
        n_layer=1,
        n_head=1,
        eos_token_id=31,
        bos_token_id=31,
    )
    model = GPT2LMHeadModel(config)
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    return folder


def test_a_local_model_answers_alike_for_a_seed_and_leaves_the_global_one_alone(
    random_gpt2: Path,
) -> None:
    model = TransformersModel(str(random_gpt2), max_new_tokens=20)
    before = torch.get_rng_state()
    one, same, other = (model.answer("w1 w2", seed) for seed in (1, 1, 2))
    assert one == same != other
    assert torch.equal(before, torch.get_rng_state())
    assert len(one.split()) <= 20


def test_a_local_model_paraphrases_a_file(
    random_gpt2: Path, tmp_path: Path, command: Command
) -> None:
    """The model babbles, so the texts mean nothing, but lengths, counts and duplicates are as asked."""
    (tmp_path / "base.csv").write_text("id,text\nfox,w1 w2 w3\n")
    arguments = (
        "build", "--source", tmp_path / "base.csv", "--out", tmp_path / "set.jsonl", "--paraphrase", "transformers",
        "--model", random_gpt2, "--per-length", 1,
    )  # fmt: skip
    status, out, _ = command(*arguments)
    assert status == 0
    assert "1 prompts, sha256" in out
    assert check(read_prompts(tmp_path / "set.jsonl"), per_length=1) == []


def test_a_folder_without_a_language_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no causal language model for transformers"):
        TransformersModel(str(tmp_path)).answer("x", 0)
