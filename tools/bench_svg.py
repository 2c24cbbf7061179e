# SPDX-License-Identifier: Apache-2.0
"""Plots as SVG text, without a library. Text and lines are of a grey that is legible on white and on
dark, the background is left as it is.

    dots(title, unit, rows, log)     one line a row, a mark for each contestant
    panels(title, unit, panels)      small line plots, both axes logarithmic
    stacks(title, unit, rows)        one bar a row, made of parts
"""

import html
import math

GREY = "#7d7d7d"
FAINT = "#7d7d7d55"
FONT = 12
WIDTH = 860
CHAR = 6.9  # of a character, at most, on average
# name: colour, mark
STYLE = {
    "embedded": ("#1f83d6", "circle"),
    "reqcast": ("#1f83d6", "circle"),
    "attached": ("#27a3a3", "square"),
    "floor": ("#8a8a8a", "bar"),
    "disk": ("#8a8a8a", "bar"),
    "memcpy": ("#5a9e4b", "cross"),
    "SQLite": ("#e08a1e", "diamond"),
    "SQLite :memory:": ("#b5791f", "ring"),
    "Redis": ("#d1495b", "triangle"),
    "Redis always": ("#d1495b", "triangle"),
    "Redis everysec": ("#c9779f", "ring"),
}
PARTS = ["#1f83d6", "#e08a1e", "#27a3a3", "#d1495b", "#5a9e4b", "#b07aa1", "#b5791f", "#8a8a8a",
         "#6f86c9", "#c9779f", "#4e7d57", "#a0623a"]
LABELS = {"floor": "LMDB by hand"}


def text(x, y, words, anchor="start", size=FONT, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
            f' font-weight="{weight}">{html.escape(str(words))}</text>')


def line(x1, y1, x2, y2, colour=FAINT, width=1):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"'
            f' stroke-width="{width}"/>')


def mark(x, y, name, r=4.5):
    colour, kind = STYLE.get(name, ("#8a8a8a", "circle"))
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" fill="{colour}"/>'
    if kind == "ring":
        return (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r - 1}" fill="none" stroke="{colour}"'
                f' stroke-width="2"/>')
    if kind == "bar":
        return line(x, y - r - 2, x, y + r + 2, colour, 3)
    if kind == "cross":
        return line(x - r, y - r, x + r, y + r, colour, 2) + line(x - r, y + r, x + r, y - r, colour, 2)
    shapes = {"square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
              "diamond": [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
              "triangle": [(0, -1.2), (1.2, 1), (-1.2, 1)]}
    points = " ".join(f"{x + a * (r - .5):.1f},{y + b * (r - .5):.1f}" for a, b in shapes[kind])
    return f'<polygon points="{points}" fill="{colour}"/>'


def number(v):
    """Short, with a unit of a thousand: 0.5, 20, 3k, 1M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(v) >= size * .9995:
            return f"{v / size:.3g}{letter}"
    return f"{v:.3g}"


def page(height, title, body):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}"'
            f' width="{WIDTH}" height="{height:.0f}" font-family="sans-serif" fill="{GREY}">\n'
            f'<title>{html.escape(title)}</title>\n'
            + text(12, 22, title, size=15, weight="bold") + "\n" + "\n".join(body) + "\n</svg>\n")


def legend(names, y):
    """Entries from left to right in as many lines as they need. Returns text and the next y."""
    out, x = [], 16.0
    for name in names:
        label = LABELS.get(name, name)
        width = 16 + CHAR * len(label) + 22
        if x + width > WIDTH:
            x, y = 16.0, y + 20
        out += [mark(x, y - 4, name), text(x + 10, y, label)]
        x += width
    return out, y + 22


class Axis:
    """From values to places between two ends."""

    def __init__(self, values, begin, end, log):
        self.log, self.begin, self.end = log, begin, end
        values = [v for v in values if not log or v > 0] or [1]
        if log:
            self.low, self.high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
            self.high += self.high == self.low
            self.ticks = [10.0 ** e for e in range(self.low, self.high + 1)]
        else:
            step = self._step(max(values))
            self.low, self.high = 0, step * math.ceil(max(values) / step - 1e-9)
            self.ticks = [step * i for i in range(round(self.high / step) + 1)]

    @staticmethod
    def _step(most):
        size = 10 ** math.floor(math.log10(most / 5))
        return next(size * m for m in (1, 2, 2.5, 5, 10) if size * m * 6 >= most)

    def at(self, v):
        v = math.log10(v) if self.log else v
        return self.begin + (v - self.low) / (self.high - self.low) * (self.end - self.begin)


def dots(title, unit, rows, log=True, goal=None):
    """rows: (label, {contestant: value or (value, up to)}). `goal`: a line across, (value, words)."""
    names = [n for n in STYLE if any(n in marks for _, marks in rows)]
    values = [v for _, marks in rows for m in marks.values() for v in (m if isinstance(m, tuple) else (m,))]
    if goal:
        values.append(goal[0])
    left = 24 + CHAR * max(len(label) for label, _ in rows)
    body, top = legend(names, 46)
    axis = Axis(values, left, WIDTH - 30, log)
    bottom = top + 8 + 24 * len(rows)
    for tick in axis.ticks:
        body += [line(axis.at(tick), top, axis.at(tick), bottom),
                 text(axis.at(tick), bottom + 17, number(tick), "middle")]
    if goal:
        body += [line(axis.at(goal[0]), top - 4, axis.at(goal[0]), bottom, GREY, 1.5),
                 text(axis.at(goal[0]), top - 8, goal[1], "middle", 11)]
    for i, (label, marks) in enumerate(rows):
        y = top + 20 + 24 * i
        body += [line(left, y, WIDTH - 30, y), text(left - 10, y + 4, label, "end")]
        for name in reversed([n for n in names if n in marks]):
            value, up_to = marks[name] if isinstance(marks[name], tuple) else (marks[name], None)
            if up_to:
                body.append(line(axis.at(value), y, axis.at(up_to), y, STYLE[name][0], 2))
            body.append(mark(axis.at(value), y, name))
    body.append(text((left + WIDTH - 30) / 2, bottom + 36, unit, "middle"))
    return page(bottom + 48, title, body)


def panel(name, series, x0, y0, width, height, ticks, unit):
    """One plot of panels()."""
    ys = [y for points in series.values() for _, y in points]
    across = Axis(ticks, x0 + 60, x0 + width - 30, True)
    up = Axis(ys, y0 + height - 24, y0 + 24, True)
    body = [text(x0 + 46, y0 + 12, name, weight="bold")]
    for tick in up.ticks:
        body += [line(x0 + 46, up.at(tick), x0 + width - 18, up.at(tick)),
                 text(x0 + 41, up.at(tick) + 4, number(tick), "end", 11)]
    for tick in ticks:
        body.append(text(across.at(tick), y0 + height - 8, number(tick), "middle", 11))
    for who, points in series.items():
        colour = STYLE[who][0]
        path = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in points)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        body += [mark(across.at(x), up.at(y), who, 4) for x, y in points]
    body.append(text(x0 + width - 18, y0 + 12, unit, "end", 11))
    return body


def panels(title, unit, under, plots, columns=3):
    """plots: (name, {contestant: [(x, y), …]})."""
    names = [n for n in STYLE if any(n in series for _, series in plots)]
    body, top = legend(names, 46)
    width, height = (WIDTH - 10) / columns, 190
    ticks = sorted({x for _, series in plots for points in series.values() for x, _ in points})
    for i, (name, series) in enumerate(plots):
        body += panel(name, series, 4 + i % columns * width, top + i // columns * height, width,
                      height - 10, ticks, unit)
    bottom = top + math.ceil(len(plots) / columns) * height
    body.append(text(WIDTH / 2, bottom + 8, under, "middle"))
    return page(bottom + 20, title, body)


def stacks(title, unit, rows):
    """rows: (label, [(part, value), …]); a part has the same colour in all rows."""
    parts = list(dict.fromkeys(name for _, of in rows for name, _ in of))
    colours = {name: PARTS[i % len(PARTS)] for i, name in enumerate(parts)}
    left = 24 + CHAR * max(len(label) for label, _ in rows)
    body, x, y = [], 16.0, 46
    for name in parts:
        width = 18 + CHAR * len(name) + 18
        if x + width > WIDTH:
            x, y = 16.0, y + 20
        body += [f'<rect x="{x:.1f}" y="{y - 10}" width="11" height="11" fill="{colours[name]}"/>',
                 text(x + 16, y, name)]
        x += width
    top = y + 16
    axis = Axis([sum(v for _, v in of) for _, of in rows], left, WIDTH - 70, False)
    bottom = top + 34 * len(rows)
    for tick in axis.ticks:
        body += [line(axis.at(tick), top, axis.at(tick), bottom),
                 text(axis.at(tick), bottom + 17, number(tick), "middle")]
    for i, (label, of) in enumerate(rows):
        y, at = top + 6 + 34 * i, 0.0
        body.append(text(left - 10, y + 15, label, "end"))
        for name, value in of:
            a, b = axis.at(at), axis.at(at + value)
            body.append(f'<rect x="{a:.1f}" y="{y}" width="{max(b - a, 0):.1f}" height="22"'
                        f' fill="{colours[name]}"/>')
            at += value
        body.append(text(axis.at(at) + 7, y + 15, f"{at:.0f}", weight="bold"))
    body.append(text((left + WIDTH - 70) / 2, bottom + 36, unit, "middle"))
    return page(bottom + 48, title, body)
