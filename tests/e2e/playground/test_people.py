"""Two people at once see only their own images."""

from pathlib import Path

from serve_app.http.tenants import keyfile
from tests.contract.conftest import own_server
from tests.e2e.playground.conftest import Opener
from tests.e2e.playground.test_errors import expected, give_key
from tests.support.browser import Playground
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.scenes import encoded, ring

ASK = """async ([id, key]) => (await fetch("/sam3/concept_segment", {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${key}` },
    body: JSON.stringify({ image_id: id, prompts: [{ type: "text", text: "red" }] }),
})).status"""


def test_two_people(open_page: Opener, tmp_path: Path) -> None:
    keys = [keyfile.add(tmp_path / "keys.json", name) for name in ("ann", "ben")]
    fake = FakeSegmenter()
    with own_server(fake, api_keys_file=tmp_path / "keys.json") as url:
        ann, ben = people = [open_page(url) for _ in keys]
        for person, key in zip(people, keys, strict=True):
            give_key(person, key)
        ids = [loaded(ann, None), loaded(ben, encoded(ring()))]
        for person in people:
            person.find("red")
        ann.click(230, 70)
        ben.click(60, 80)
        assert ann.prompts() == {"red": 2, "Object 1 · 1 click": 1}
        assert ben.prompts() == {"red": 1, "Object 1 · 1 click": 1}
        statuses = [
            [person.page.evaluate(ASK, [one, key]) for one in ids]
            for person, key in zip(people, keys, strict=True)
        ]
        assert statuses == [[200, 404], [404, 200]]
        assert loaded(ben, None) == ids[0], "the same file has the same name"
        assert fake.encoded == 3, "and is encoded for each of them"
        for person in people:
            person.page.context.close()
    for person in people:
        expected(person)


def loaded(person: Playground, content: bytes | None) -> str:
    """Have a person open an image; its id."""
    with person.page.expect_response("**/embed_image") as response:
        person.load(content)
    return str(response.value.json()["image_id"])
