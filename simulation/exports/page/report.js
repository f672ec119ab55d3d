"use strict";
// Draws the figures that the page carries, and lets keys, buttons and the run switch move them.

(async () => {
  const $ = (id) => document.getElementById(id);
  const say = (text) => { $("said").textContent = text; };
  document.documentElement.dataset.state = "loading";

  async function unpack(id) {
    const text = $(id).textContent.trim();
    const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream);
  }

  const data = await (await unpack("data")).json();
  const block = new Int32Array(await (await unpack("block")).arrayBuffer());
  await Bokeh.embed.embed_items(data.docs, [data.render_item]);
  const bokeh = Bokeh.documents[Bokeh.documents.length - 1];
  const figures = bokeh.roots();
  const timeline = bokeh.get_model_by_name("timeline");
  const time = timeline.x_range;
  const drawn = new Map(timeline.renderers.map((one) => [one.name, one]));
  const parts = (renderer) => (renderer.name || "").split("|");
  let run = 0;

  // ---- light and dark

  const page = () => getComputedStyle(document.documentElement).getPropertyValue("--page").trim();

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  function paint() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const [back, ink, soft, line] = ["--page", "--ink", "--soft", "--line"].map(colour);
    for (const figure of figures) {
      figure.setv({
        background_fill_color: back, border_fill_color: back, outline_line_color: line,
      });
      figure.title.text_color = ink;
      for (const place of ["above", "below", "left", "right", "center"]) {
        for (const one of figure[place]) {
          if (one.type.endsWith("Axis")) {
            one.setv({
              axis_label_text_color: ink, major_label_text_color: soft, axis_line_color: soft,
              major_tick_line_color: soft, minor_tick_line_color: line,
              ...(one.group_text_color === undefined ? {} : { group_text_color: ink }),
            });
          } else if (one.type === "Grid") {
            if (one.grid_line_color !== null) one.grid_line_color = line;
          }
        }
      }
      for (const renderer of figure.renderers) {
        if (["retry", "selected", "selected-waits"].includes(parts(renderer).at(-1))) {
          renderer.glyph.line_color = ink;
        }
      }
    }
  }
  paint();
  dark.addEventListener("change", () => { paint(); fill(); });

  // ---- which run the timeline shows, and which lines are drawn

  const shown = ["abandoned", "ok", "error", "timeout", "cancelled", "running"];

  function duration(seconds) {
    for (const [unit, size] of [["s", 1], ["ms", 1e-3], ["µs", 1e-6]]) {
      if (seconds >= size) return `${Number((seconds / size).toPrecision(4))} ${unit}`;
    }
    return `${Math.round(seconds * 1e9)} ns`;
  }

  function column(place) {
    const [from, length] = place;
    return block.subarray(from, from + length);
  }

  function ticks(place) {
    return Float64Array.from(column(place), (tick) => tick * data.tick);
  }

  function ends(what, code) {
    if (what === "abandoned") return `abandoned, ${code ? "until it came home" : "never came home"}`;
    const error = data.errors[code >> 1];
    return `${what}${error ? `: ${error}` : ""}${code & 1 ? ", retried" : ""}`;
  }

  // what the run that is shown has: only its columns are unpacked
  function fill() {
    const packed = data.runs[run].columns;
    for (const what of shown) {
      const columns = packed[what];
      const task = column(columns.task), left = ticks(columns.left), right = ticks(columns.right);
      const rows = Array.from(task.keys());
      const codes = column(columns.code);
      drawn.get(what).data_source.data = {
        y: Float64Array.from(column(columns.y)), left, right, task,
        attempt: column(columns.attempt),
        name: rows.map((row) => data.names[task[row]] || `task ${task[row]}`),
        took: rows.map((row) => duration(right[row] - left[row])),
        end: rows.map((row) => ends(what, codes[row])),
      };
    }
    const retry = packed.retry, y = column(retry.y);
    drawn.get("retry").data_source.data = {
      x: ticks(retry.left), y0: Float64Array.from(y, (one) => one - 0.4),
      y1: Float64Array.from(y, (one) => one + 0.4),
    };
    // thin where there are many, or nothing else would be seen
    const retries = y.length;
    drawn.get("retry").glyph.line_width = retries > 2000 ? 0.5 : retries > 300 ? 1.2 : 2.5;
    const count = shown.reduce((sum, what) => sum + packed[what].y[1], 0);
    for (const what of shown.slice(1)) {
      drawn.get(what).glyph.setv({ line_width: 0.7, line_color: count < 4000 ? page() : null });
    }
    const critical = packed.critical;
    drawn.get("critical").data_source.data = {
      y: Float64Array.from(column(critical.y)), left: ticks(critical.left),
      right: ticks(critical.right),
    };
  }

  function show(chosen) {
    run = chosen;
    fill();
    timeline.y_range.setv({ start: data.runs[run].workers + 0.7, end: 0.3 });
    timeline.title.text = `Attempts by worker: ${data.runs[run].name}`;
    select(null);
    document.documentElement.dataset.run = String(run);
  }
  for (const radio of document.querySelectorAll("input[name=run]")) {
    radio.addEventListener("change", () => {
      show(Number(radio.value));
      say(`The timeline shows: ${data.runs[run].name}.`);
    });
  }
  $("critical").addEventListener("change", () => {
    drawn.get("critical").visible = $("critical").checked;
  });
  for (const box of document.querySelectorAll("input[name=line]")) {
    box.addEventListener("change", () => {
      for (const figure of figures.filter((one) => one.name === "over-time")) {
        for (const renderer of figure.renderers) {
          if (parts(renderer)[0] === box.value) renderer.visible = box.checked;
        }
      }
    });
  }

  // ---- one task: its attempts, and its waits between them

  function attemptsOf(task) {
    const found = [];
    for (const what of shown.slice(1)) {
      const columns = drawn.get(what).data_source.data;
      for (let row = columns.task.indexOf(task); row >= 0; row = columns.task.indexOf(task, row + 1)) {
        const one = {};
        for (const name of ["left", "right", "y", "name", "attempt", "took", "end"]) {
          one[name] = columns[name][row];
        }
        found.push(one);
      }
    }
    return found.sort((a, b) => a.left - b.left || a.attempt - b.attempt);
  }

  function select(task) {
    const bold = bokeh.get_model_by_name("selected").data_source;
    const waits = bokeh.get_model_by_name("selected-waits").data_source;
    const ran = task === null ? [] : attemptsOf(task);
    bold.data = {
      y: ran.map((one) => one.y), left: ran.map((one) => one.left),
      right: ran.map((one) => one.right),
    };
    const after = ran.slice(1);
    waits.data = {
      x0: ran.slice(0, -1).map((one) => one.right), y0: ran.slice(0, -1).map((one) => one.y),
      x1: after.map((one) => one.left), y1: after.map((one) => one.y),
    };
    return ran;
  }

  function tell(task, zoom) {
    const ran = select(task);
    if (!ran.length) { say("That task has no attempt in this run."); return; }
    const told = ran.map((one) => `attempt ${one.attempt} on worker ${one.y} ran ${one.took} (${one.end})`);
    say(`${ran[0].name}: ${told.join("; ")}.`);
    if (zoom) {
      const from = ran[0].left, to = ran.at(-1).right;
      const room = Math.max((to - from) * 0.25, data.runs[run].seconds / 1e4);
      window_to(from - room, to + room);
      $("timeline").scrollIntoView({ block: "nearest" });
    }
  }
  for (const button of document.querySelectorAll("button[data-task]")) {
    button.addEventListener("click", () => tell(Number(button.dataset.task), true));
  }
  for (const what of shown) {
    const source = drawn.get(what).data_source;
    const chosen = source.selected;
    chosen.change.connect(() => {
      const [row] = chosen.indices;
      if (row === undefined) return;
      const task = source.data.task[row];
      chosen.indices = [];
      tell(task, false);
    });
  }

  // ---- moving about, by key and by button

  const least = 1e-9;
  function window_to(start, end) {
    if (!(end - start > least)) return;
    time.setv({ start, end });
  }
  function whole() {
    window_to(0, Math.max(...data.runs.map((one) => one.seconds), least * 10));
  }
  function zoom(factor) {
    const middle = (time.start + time.end) / 2, half = (time.end - time.start) / 2 * factor;
    window_to(middle - half, middle + half);
  }
  function pan(share) {
    const by = (time.end - time.start) * share;
    window_to(time.start + by, time.end + by);
  }
  const moves = {
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": whole, "Home": whole,
    "ArrowLeft": () => pan(-0.25), "ArrowRight": () => pan(0.25),
  };
  for (const button of document.querySelectorAll("button[data-key]")) {
    button.addEventListener("click", () => moves[button.dataset.key]());
  }
  for (const box of document.querySelectorAll(".movable")) {
    box.addEventListener("keydown", (press) => {
      if (press.ctrlKey || press.metaKey || press.altKey || !(press.key in moves)) return;
      if (press.target.matches("input")) return;
      press.preventDefault();
      moves[press.key]();
    });
  }

  drawn.get("critical").visible = false;
  whole();
  show(0);
  window.report = { data, figures, time, timeline, run: () => run };
  document.documentElement.dataset.state = "ready";
})().catch((error) => {
  document.documentElement.dataset.state = "failed";
  document.getElementById("said").textContent = `The figures could not be drawn: ${error}`;
  throw error;
});
