"""The report in a real browser, without a network."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.journal import Journal
from simulation.exports.html import export_html
from simulation.timeline.lateness import slowest
from simulation.timeline.sentences import why_late
from simulation.whatif.timed import recorded_run
from tests.report.browser import Page, open_page
from tests.report.runs import EVIL

VARIANTS = [("8 workers", {"max_workers": 8}), ("no retries", {"max_retries": 0})]


@pytest.fixture(scope="module")
def html(journal: Journal, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "run.html"
    path.write_bytes(export_html(journal, VARIANTS, force=True))
    return path


@pytest.fixture(scope="module")
def page(html: Path) -> Iterator[Page]:
    with open_page() as page:
        page.open(html)
        yield page


def window(page: Page) -> tuple[float, float]:
    start, end = page.run("[report.time.start, report.time.end]")
    return start, end


def click(page: Page, selector: str) -> None:
    page.run(f"document.querySelector({selector!r}).click()")


def test_it_opens_offline_without_a_word(page: Page) -> None:
    assert page.run("document.documentElement.dataset.state") == "ready"
    wrong = [said for said in page.said if not said.startswith("log: [bokeh")]
    assert wrong == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in page.asked if url.startswith("file:")]) == 1


def test_the_policy_lets_nothing_out(page: Page) -> None:
    policy = page.run("document.querySelector('meta[http-equiv=Content-Security-Policy]').content")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "http" not in policy.replace("http-equiv", "")
    refused = page.run(
        "fetch('data:text/plain,x').then(() => 'went', (error) => error.constructor.name)"
    )
    assert refused == "TypeError"
    before = page.said.copy()
    page.run(
        "(() => { const s = document.createElement('script'); s.text = 'window.evil = 2';"
        " document.body.append(s); })()"
    )
    assert page.run("window.evil") is None
    page.said[:] = before  # the browser says what it refused


def test_the_first_thing_read_is_why_the_slowest_task_was_late(
    page: Page, journal: Journal
) -> None:
    run = recorded_run(journal)
    task = slowest(run.timeline)[0]
    told = " ".join(why_late(run.timeline, task, run.splitter))
    assert page.run("document.querySelector('main p').textContent") == told
    assert task.title in page.run("document.querySelector('h1').textContent")


def test_a_name_is_never_a_script(page: Page, html: Path) -> None:
    assert page.run("window.evil") is None
    assert page.run("document.images.length") == 0
    assert EVIL.encode() not in html.read_bytes()
    names = page.run("Object.values(report.data.names)")
    assert EVIL in names
    # where it is shown, it is text
    page.run(
        "(() => { const ok = report.timeline.renderers.find((r) => r.name === 'ok');"
        " const source = ok.data_source;"
        f" const row = source.data.name.indexOf({EVIL!r});"
        " source.selected.indices = [row < 0 ? 0 : row]; })()"
    )
    assert page.run("window.evil") is None
    assert page.run("document.images.length") == 0


def test_each_attempt_has_its_mark(page: Page, journal: Journal) -> None:
    timeline = recorded_run(journal).timeline
    click(page, "input[name=run][value='0']")
    counts = page.run(
        "Object.fromEntries(report.timeline.renderers.map((r) =>"
        " [r.name, (r.data_source.data.left ?? r.data_source.data.x ?? []).length]))"
    )
    wanted: dict[str, int] = {}
    for attempt in timeline.attempts:
        wanted[attempt.outcome] = wanted.get(attempt.outcome, 0) + 1
    assert {what: counts[what] for what in wanted} == wanted
    assert counts["abandoned"] == sum(a.abandoned for a in timeline.attempts) > 0
    assert counts["retry"] == sum(a.number > 1 for a in timeline.attempts) > 0
    first = timeline.attempts[0]
    left = page.run(
        f"(() => {{ for (const r of report.timeline.renderers) {{ const d = r.data_source.data;"
        f" const i = (d.task ?? []).indexOf({first.task}); if (i >= 0 && d.attempt[i] === 1)"
        f" return d.right[i]; }} }})()"
    )
    assert left == pytest.approx((first.end_at_ns - timeline.first_ns) / 1e9, abs=1e-6)


def test_the_figures_are_not_blank(page: Page, tmp_path: Path) -> None:
    drawn = page.run(
        """(() => {
          const deep = (root) => [...root.querySelectorAll('*')].flatMap((one) =>
            [...(one.tagName === 'CANVAS' ? [one] : []),
             ...(one.shadowRoot ? deep(one.shadowRoot) : [])]);
          return deep(document).map((canvas) => {
            if (!canvas.width || !canvas.height) return 0;
            const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const seen = new Set();
            for (let i = 0; i < data.length; i += 4) {
              seen.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
            }
            return seen.size;
          });
        })()"""
    )
    assert sum(count > 8 for count in drawn) >= 5
    png = page.picture(tmp_path / "page.png")
    width, height = struct.unpack(">II", png[16:24])
    assert width >= 1000
    assert height > 2000


def test_keys_and_buttons_move_all_time_axes(page: Page) -> None:
    click(page, "button[data-key='0']")
    whole = window(page)
    page.run("document.querySelector('.movable').focus()")
    page.press("+")
    near = window(page)
    assert near[1] - near[0] == pytest.approx((whole[1] - whole[0]) / 2)
    page.press("ArrowRight")
    assert window(page)[0] == pytest.approx(near[0] + (near[1] - near[0]) / 4)
    assert page.run("report.figures.filter((f) => f.x_range === report.time).length") == 4
    page.press("0")
    assert window(page) == whole
    click(page, "button[data-key='+']")
    assert window(page) == pytest.approx(near)
    click(page, "button[data-key='0']")


def test_the_switch_shows_another_run(page: Page) -> None:
    def last_end() -> float:
        found: float = page.run(
            "Math.max(...report.timeline.renderers.filter((r) => r.name === 'ok')"
            ".flatMap((r) => [...r.data_source.data.right]))"
        )
        return found

    page.run("document.querySelector('input[name=run]').focus()")
    recorded = last_end()
    assert page.run("document.querySelectorAll('input[name=run]').length") == 4
    click(page, "input[name=run][value='2']")
    assert page.run("document.documentElement.dataset.run") == "2"
    assert page.run("report.timeline.title.text") == "Attempts by worker: 8 workers"
    assert page.run("report.timeline.y_range.start") == pytest.approx(8.7)
    assert last_end() != recorded
    click(page, "input[name=run][value='0']")
    assert last_end() == recorded
    click(page, "input[name=line][value='2']")
    hidden = page.run(
        "report.figures.filter((f) => f.name === 'over-time').flatMap((f) => f.renderers)"
        ".filter((r) => r.name.startsWith('2|')).map((r) => r.visible)"
    )
    assert hidden == [False] * 3
    click(page, "input[name=line][value='2']")


def test_a_late_task_is_shown_on_the_timeline(page: Page, journal: Journal) -> None:
    timeline = recorded_run(journal).timeline
    task = slowest(timeline)[0]
    click(page, f"button[data-task='{task.number}']")
    said = page.run("document.querySelector('#said').textContent")
    assert said.startswith(f"{task.name}: attempt 1 on worker")
    bold = page.run(
        "[...report.timeline.renderers.find((r) => r.name === 'selected').data_source.data.y]"
    )
    assert bold == [attempt.slot + 1 for attempt in task.attempts]
    start, end = window(page)
    assert start < (task.attempts[0].start_at_ns - timeline.first_ns) / 1e9
    assert end > (task.attempts[-1].end_at_ns - timeline.first_ns) / 1e9
    click(page, "#critical")
    shown = "report.timeline.renderers.find((r) => r.name === 'critical').visible"
    assert page.run(shown) is True
    click(page, "#critical")
    assert page.run(shown) is False
    click(page, "button[data-key='0']")


def test_pointing_and_choosing_with_the_mouse(page: Page) -> None:
    click(page, "button[data-key='0']")
    page.run("document.querySelector('#figure-timeline').scrollIntoView({block: 'center'})")
    page.run("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")
    x, y, width, height = page.run(
        "(() => { const b = document.querySelector('#figure-timeline').getBoundingClientRect();"
        " return [b.x, b.y, b.width, b.height]; })()"
    )
    page.run("document.querySelector('#said').textContent = ''")
    page.click(x + width / 6, y + height / 2)
    page.wait("document.querySelector('#said').textContent.includes('on worker')")
    assert page.run("document.images.length") == 0


def test_a_tooltip_shows_a_name_as_text(page: Page) -> None:
    """The first attempt of worker 1 is of the task with the evil name."""
    click(page, "button[data-key='0']")
    click(page, "input[name=run][value='0']")
    page.run("document.querySelector('#figure-timeline').scrollIntoView({block: 'center'})")
    page.run("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")
    x, y = page.run(
        "(() => { const b = document.querySelector('#figure-timeline').getBoundingClientRect();"
        " return [b.x, b.y]; })()"
    )
    told = """(() => {
      const deep = (root) => [...root.querySelectorAll('*')].flatMap((one) =>
        one.shadowRoot ? [one.shadowRoot, ...deep(one.shadowRoot)] : []);
      return deep(document).map((root) => root.textContent).join(' ');
    })()"""
    for down in range(30, 120, 6):
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + 80, y=y + down)
        page.run("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")
        if EVIL in page.run(told):
            break
    else:
        raise AssertionError("no tooltip with the name")
    assert page.run("window.evil") is None
    assert page.run(told.replace("root.textContent", "root.querySelectorAll('img').length")) == (
        " ".join("0" for _ in page.run(told.replace(".join(' ')", "")))
    )


def test_dark_light_and_narrow(page: Page) -> None:
    background = "report.timeline.background_fill_color"
    light = page.run(background)
    page.dark(True)
    page.wait(f"{background} !== {light!r}")
    dark = page.run("getComputedStyle(document.body).backgroundColor")
    page.dark(False)
    page.wait(f"{background} === {light!r}")
    assert page.run("getComputedStyle(document.body).backgroundColor") != dark
    page.resize(400, 800)
    page.wait("report.timeline.inner_width < 400")
    assert page.run("document.documentElement.scrollWidth") <= 400
    page.resize(1200, 900)
    page.wait("report.timeline.inner_width > 600")
