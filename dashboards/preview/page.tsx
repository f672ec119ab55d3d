// Draws a dashboard from its JSON and the answers of a Prometheus, with Grafana's own components:
// lines and numbers by @grafana/ui, units and colours by @grafana/data. The components of the heat map
// and of exemplars are in no package, so this page paints their cells and dots by itself.
import React from "react";
import { createRoot } from "react-dom/client";
import {
  createTheme,
  dateTime,
  EventBusSrv,
  FieldColorModeId,
  FieldType,
  getDisplayProcessor,
  ThemeContext,
} from "@grafana/data";
import { BigValue, PanelContextProvider, TimeSeries } from "@grafana/ui";

const { dashboard, answers, exemplars, from, to, step, dark } = (window as any).ASKED; // in milliseconds
const theme = createTheme({ colors: { mode: dark ? "dark" : "light" } });
const COLUMN = 62, ROW = 38, GAP = 8;
const range = { from: dateTime(from), to: dateTime(to) };
const timeRange: any = { ...range, raw: range };

function named(legend: string, labels: Record<string, string>): string {
  return legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? "");
}

// One frame a series, as Grafana's Prometheus datasource makes them, its gaps left open.
function frames(panel: any): any[] {
  const made: any[] = [];
  panel.targets.forEach((target: any, index: number) => {
    for (const series of answers[panel.id][index]) {
      const name = named(target.legendFormat, series.metric);
      const byTime = new Map(series.values.map(([at, v]: any) => [Math.round(at * 1000), Number(v)]));
      const times: number[] = [], values: (number | null)[] = [];
      for (let at = from; at <= to; at += step) {
        times.push(at);
        const value = byTime.get(at) as number | undefined;
        values.push(value === undefined || Number.isNaN(value) ? null : value);
      }
      const config: any = {
        ...panel.fieldConfig.defaults,
        displayName: name,
        color: { mode: FieldColorModeId.PaletteClassic },
        custom: { ...panel.fieldConfig.defaults.custom },
      };
      for (const override of panel.fieldConfig.overrides) {
        if (override.matcher.id === "byName" && override.matcher.options === name) {
          for (const { id, value } of override.properties) config[id] = value;
        }
      }
      const field: any = { name, type: FieldType.number, values, config, labels: series.metric };
      field.state = { displayName: name, seriesIndex: made.length };
      const time: any = { name: "Time", type: FieldType.time, values: times, config: {} };
      time.display = getDisplayProcessor({ field: time, theme });
      field.display = getDisplayProcessor({ field, theme });
      made.push({ refId: target.refId, name, fields: [time, field], length: times.length });
    }
  });
  return made;
}

// A diamond an exemplar, at its own instant and value, as Grafana puts them.
function Dots({ config, dots }: any) {
  React.useLayoutEffect(() => {
    config.addHook("draw", (plot: any) => {
      const pen = plot.ctx, size = 4 * devicePixelRatio;
      const { left, top, width, height } = plot.bbox;
      const scale = plot.series[1].scale;
      pen.save();
      pen.fillStyle = theme.visualization.getColorByName("light-blue");
      for (const { at, value } of dots) {
        const x = Math.min(Math.max(plot.valToPos(at, "x", true), left), left + width);
        const y = Math.min(Math.max(plot.valToPos(value, scale, true), top), top + height);
        pen.beginPath();
        pen.moveTo(x, y - size), pen.lineTo(x + size, y), pen.lineTo(x, y + size), pen.lineTo(x - size, y);
        pen.fill();
      }
      pen.restore();
    });
  }, [config]);
  return null;
}

function Lines({ panel, width, height }: any) {
  const data = frames(panel);
  if (!data.some((frame) => frame.fields[1].values.some((value: any) => value !== null))) {
    return <div style={{ padding: 8 }}>No data</div>;
  }
  return (
    <TimeSeries frames={data} timeRange={timeRange} timeZone="utc" width={width} height={height}
      legend={panel.options.legend} options={{}}>
      {(config: any) => <Dots config={config} dots={exemplars[panel.id] ?? []} />}
    </TimeSeries>
  );
}

function Number_({ panel, width, height }: any) {
  const data = frames(panel);
  if (!data.length) return <div style={{ padding: 8 }}>{panel.fieldConfig.defaults.noValue}</div>;
  const field = data[0].fields[1];
  field.config.color = { mode: FieldColorModeId.Thresholds };
  field.display = getDisplayProcessor({ field, theme });
  const seen = field.values.filter((value: any) => value !== null);
  const last = field.display(seen.length ? seen[seen.length - 1] : null);
  const [min, max] = [Math.min(0, ...seen), Math.max(0, ...seen)];
  field.state.range = { min, max, delta: max - min };
  return (
    <BigValue theme={theme} width={width} height={height} value={last}
      colorMode={panel.options.colorMode} graphMode={panel.options.graphMode}
      sparkline={{ y: field, x: data[0].fields[0] } as any} />
  );
}

function Heat({ panel, width, height }: any) {
  const bound = (series: any) => Number(series.metric.le.replace("+Inf", "Infinity"));
  const rows = [...answers[panel.id][0]].sort((a: any, b: any) => bound(a) - bound(b));
  const columns = Math.floor((to - from) / step) + 1;
  const at = (series: any, column: number) => {
    const found = series.values.find(([t]: any) => Math.round((t * 1000 - from) / step) === column);
    return found ? Number(found[1]) || 0 : 0;
  };
  const cells: any[] = [];
  let most = 0;
  rows.forEach((series: any, row: number) => {
    for (let column = 0; column < columns; column++) {
      const value = at(series, column) - (row ? at(rows[row - 1], column) : 0); // buckets add up
      if (value > 1e-9) cells.push({ row, column, value });
      most = Math.max(most, value);
    }
  });
  const w = (width - 60) / columns, h = (height - 8) / Math.max(rows.length, 1);
  return (
    <svg width={width} height={height}>
      {rows.map((series: any, row: number) => (
        <text key={row} x={50} y={height - 4 - row * h - h / 3} textAnchor="end" fontSize={9}
          fill={theme.colors.text.secondary}>{series.metric.le}</text>
      ))}
      {cells.map(({ row, column, value }, index) => (
        <rect key={index} x={56 + column * w} y={height - 4 - (row + 1) * h} width={Math.max(w - 0.5, 0.5)}
          height={Math.max(h - 1, 1)} fill="#e6550d" opacity={0.15 + 0.85 * value / most} />
      ))}
    </svg>
  );
}

const KINDS: Record<string, any> = { timeseries: Lines, stat: Number_, heatmap: Heat };

// A panel that breaks is left empty, and named with those that drew nothing.
class Guard extends React.Component<any, { broken: string }> {
  state = { broken: "" };
  static getDerivedStateFromError(error: Error) {
    return { broken: error.message };
  }
  render() {
    return this.state.broken ? <em>{this.state.broken.replace(/\d/g, "")}</em> : this.props.children;
  }
}

function Panel({ panel }: any) {
  const { x, y, w, h } = panel.gridPos;
  const box: React.CSSProperties = {
    position: "absolute", left: x * COLUMN, top: y * ROW, width: w * COLUMN - GAP,
    height: h * ROW - GAP, boxSizing: "border-box", overflow: "hidden",
  };
  if (panel.type === "row") {
    return <h4 style={{ ...box, margin: 0, paddingTop: 6 }}>{panel.title}</h4>;
  }
  const Kind = KINDS[panel.type];
  const inner = { width: w * COLUMN - GAP - 18, height: h * ROW - GAP - 36 };
  return (
    <section data-panel={panel.title} style={{ ...box, padding: 8, borderRadius: 2,
      background: theme.colors.background.primary, border: `1px solid ${theme.colors.border.weak}` }}>
      <div style={{ fontWeight: 500, height: 20 }}>{panel.title}</div>
      <div style={{ position: "relative", width: inner.width, height: inner.height }}>
        <Guard><Kind panel={panel} {...inner} /></Guard>
      </div>
    </section>
  );
}

const panels = dashboard.panels;
const bottom = Math.max(...panels.map((panel: any) => panel.gridPos.y + panel.gridPos.h));
const right = Math.max(...panels.map((panel: any) => panel.gridPos.x + panel.gridPos.w));
document.body.style.cssText =
  `margin:8px;background:${theme.colors.background.canvas};color:${theme.colors.text.primary};` +
  `font:14px/1.3 Inter,Helvetica,Arial,sans-serif`;
createRoot(document.getElementById("root")!).render(
  <ThemeContext.Provider value={theme}>
    <PanelContextProvider value={{ eventsScope: "preview", eventBus: new EventBusSrv() } as any}>
      <div style={{ position: "relative", width: right * COLUMN, height: bottom * ROW }}>
        {panels.map((panel: any) => <Panel key={panel.id} panel={panel} />)}
      </div>
    </PanelContextProvider>
  </ThemeContext.Provider>,
);
// After two frames everything has been painted: say what was drawn and what was not.
requestAnimationFrame(() => setTimeout(() => {
  const drawn: string[] = [], empty: string[] = [];
  document.querySelectorAll("[data-panel]").forEach((section) => {
    const marks = section.querySelector("canvas, svg rect") || /\d/.test(section.textContent ?? "");
    (marks ? drawn : empty).push(section.getAttribute("data-panel")!);
  });
  document.title = JSON.stringify({ drawn, empty });
}, 500));
