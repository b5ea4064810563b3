'use strict';
// Charts, sliders and local times. Texts from files are only ever set as textContent.

(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const several = data.runs.length > 1;
  const COLOURS = 8;
  const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3]];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const element = (tag, text) => Object.assign(document.createElement(tag), text === undefined ? {} : {textContent: text});

  // Several runs: a colour for each run, a kind of line for each curve. One run: a colour for each curve.
  const styleOf = (run, j) => several
    ? {name: `--c${run % COLOURS}`, dash: DASHES[j % DASHES.length]}
    : {name: `--c${j % COLOURS}`, dash: DASHES[Math.floor(j / COLOURS) % DASHES.length]};

  const short = (value) => {
    if (value === null || value === undefined) return '–';
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  };

  // One table for uPlot: a column of kimg, and one for each curve of each run.
  const columnsOf = (chart) => {
    const series = [], tables = [];
    const labels = [...new Set(chart.parts.flatMap((part) => part.series.map(([label]) => label)))];
    for (const part of chart.parts) {
      tables.push([part.x, ...part.series.map(([, values]) => values)]);
      for (const [label] of part.series) series.push({run: part.run, label, ...styleOf(part.run, labels.indexOf(label))});
    }
    const modes = tables.map((table) => table.map(() => 1));  // what is null stays null, a gap; points of another run make none
    return {series, columns: tables.length > 1 ? uPlot.join(tables, modes) : tables[0]};
  };

  const range = (chart) => (u, low, high) => {
    if (low === null) return [0, 1];
    if (chart.line !== null) [low, high] = [Math.min(low, chart.line), Math.max(high, chart.line)];
    if (chart.log) return uPlot.rangeLog(low, high, 10, false);
    if (chart.zero) low = Math.min(low, 0);
    const margin = (high - low || Math.abs(high) || 1) * 0.06;
    return [chart.zero && low === 0 ? 0 : low - margin, high + margin];
  };

  // Of what begins at zero, the first tick, a single batch, would leave no room for the others.
  const withoutFirst = (chart, columns) => {
    if (!chart.zero || columns[0].length < 4) return columns;
    const rest = columns.slice(1).flatMap((column) => column.slice(1).filter((value) => value != null));
    const most = Math.max(0, ...rest);
    return columns.map((column, i) => i === 0 ? column : column.map((value, k) => k === 0 && most > 0 && value > 1.5 * most ? null : value));
  };

  const drawLine = (chart) => (u) => {
    if (chart.line === null) return;
    const y = Math.round(u.valToPos(chart.line, 'y', true));
    u.ctx.save();
    u.ctx.strokeStyle = colour('--muted');
    u.ctx.setLineDash([4, 4]);
    u.ctx.beginPath();
    u.ctx.moveTo(u.bbox.left, y);
    u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
    u.ctx.stroke();
    u.ctx.restore();
  };

  // What is below the cursor, or else the last values.
  const keysOf = (card, series) => {
    const keys = element('div');
    keys.className = 'keys';
    const oneLabel = new Set(series.map(({label}) => label)).size === 1;
    const numbers = series.slice(0, 24).map(({name, label, run}) => {
      const key = element('span'), mark = element('i'), number = element('b');
      mark.style.borderColor = `var(${name})`;
      const text = !several ? label : oneLabel ? data.runs[run] : `${data.runs[run]} ${label}`;
      key.append(mark, text.length > 40 ? `${text.slice(0, 39)}…` : text, number);
      keys.append(key);
      return number;
    });
    card.append(keys);
    return (columns, index) => numbers.forEach((number, i) => {
      const column = columns[i + 1];
      let k = index ?? column.length - 1;
      while (k > 0 && column[k] == null) k--;  // null: a gap; undefined: where only another run has a point
      number.textContent = short(column[k]);
    });
  };

  const charts = [];
  const make = (card) => {
    const chart = data.charts[Number(card.dataset.chart)];
    const {series, columns: all} = columnsOf(chart);
    const columns = withoutFirst(chart, all);
    const show = keysOf(card, series);
    const place = element('div');
    card.append(place);
    const axis = {
      stroke: () => colour('--muted'), grid: {stroke: () => colour('--line'), width: 1}, ticks: {show: false},
      font: '11px system-ui, sans-serif', gap: 4,
    };
    const decades = (u, ticks) => ticks.map((tick) => Math.abs(Math.log10(tick) % 1) < 1e-6 ? tick : null);
    const grid = chart.log ? {...axis.grid, filter: decades} : axis.grid;
    const few = columns[0].length < 3;
    const plot = new uPlot({
      width: place.clientWidth, height: 190, legend: {show: false},
      cursor: {sync: {key: 'kimg', setSeries: false}, points: {size: 6}, drag: {x: true, y: false}},
      scales: {x: {time: false}, y: {distr: chart.log ? 3 : 1, range: range(chart)}},
      axes: [{...axis, size: 26, values: (u, ticks) => ticks.map(short)},
             {...axis, grid, size: 54, values: (u, ticks) => ticks.map((tick) => tick === null ? '' : short(tick))}],
      series: [{}, ...series.map(({name, dash}) => ({
        stroke: () => colour(name), width: 1.6, dash, spanGaps: false,
        points: {show: chart.points || few, size: 6, fill: () => colour(name)},
      }))],
      hooks: {draw: [drawLine(chart)], setCursor: [(u) => show(columns, u.cursor.idx ?? undefined)]},
    }, columns, place);
    show(columns);
    charts.push({plot, place});
  };
  document.querySelectorAll('[data-chart]').forEach(make);

  addEventListener('resize', () => charts.forEach(({plot, place}) => plot.setSize({width: place.clientWidth, height: 190})));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => charts.forEach(({plot}) => plot.redraw(false, true)));
  document.querySelectorAll('.dot').forEach((dot) => { dot.style.background = `var(--c${Number(dot.dataset.run) % COLOURS})`; });

  // All sliders move together, each to its picture nearest in kimg.
  const kinds = [...document.querySelectorAll('.kind')].map((card) => ({
    frames: [...card.querySelectorAll('.frame')], slider: card.querySelector('input'), output: card.querySelector('output'),
  })).filter(({slider}) => slider);
  const kimgOf = (frame) => Number(frame.dataset.kimg);
  const showFrame = (kind, index) => {
    kind.frames.forEach((frame, i) => { frame.hidden = i !== index; });
    kind.slider.value = index;
    kind.output.textContent = `${kimgOf(kind.frames[index])} kimg`;
  };
  const nearest = (kind, kimg) => kind.frames.reduce(
    (best, frame, i) => Math.abs(kimgOf(frame) - kimg) < Math.abs(kimgOf(kind.frames[best]) - kimg) ? i : best, 0);
  for (const kind of kinds) {
    showFrame(kind, kind.frames.length - 1);
    kind.slider.addEventListener('input', () => {
      const index = Number(kind.slider.value);
      for (const other of kinds) showFrame(other, other === kind ? index : nearest(other, kimgOf(kind.frames[index])));
    });
  }

  const ago = (seconds) => {
    const [size, unit] = [[86400, 'day'], [3600, 'hour'], [60, 'minute'], [1, 'second']].find(([s]) => seconds >= s) ?? [1, 'second'];
    return new Intl.RelativeTimeFormat('en').format(-Math.round(seconds / size), unit);
  };
  document.querySelectorAll('time').forEach((time) => {
    const moment = new Date(time.dateTime);
    time.textContent = `${moment.toLocaleString([], {dateStyle: 'medium', timeStyle: 'short'})} (${ago((Date.now() - moment) / 1000)})`;
  });
})();
