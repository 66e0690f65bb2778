"""Bars with whiskers as SVG: a panel for each load, a bar for each server."""

import html
import math

COLUMNS = 3
PANEL_WIDTH, BAR_HEIGHT, BAR_GAP = 400, 16, 6
NAME_WIDTH, VALUE_WIDTH, TITLE_HEIGHT, MARGIN = 118, 76, 30, 16

OURS, OTHERS, INK, FAINT = "#c2410c", "#94a3b8", "#1e293b", "#64748b"


def bars(title, note, panels):
    """The text of an SVG file. `panels` are pairs of a title and rows; a row is a name, a median, the least, the most,
    and whether it stands out. Bars of a panel share a scale, which begins at zero."""
    heights = [TITLE_HEIGHT + len(rows) * (BAR_HEIGHT + BAR_GAP) + 14 for _, rows in panels]
    columns = min(COLUMNS, max(1, len(panels)))
    lines = [max(heights[at:at + columns]) for at in range(0, len(panels), columns)]
    width = columns * PANEL_WIDTH + (columns + 1) * MARGIN
    top = 66
    height = top + sum(lines) + MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(MARGIN, 28, title, INK, size=18, weight="600"),
        _text(MARGIN, 48, note, FAINT),
    ]
    for number, (name, rows) in enumerate(panels):
        x = MARGIN + number % columns * (PANEL_WIDTH + MARGIN)
        y = top + sum(lines[:number // columns])
        out += _panel(x, y, name, rows)
    return "\n".join([*out, "</svg>", ""])


def _panel(x, y, title, rows):
    room = PANEL_WIDTH - NAME_WIDTH - VALUE_WIDTH
    most = max((row[3] for row in rows), default=1) or 1
    out = [_text(x, y + 14, title, INK, weight="600")]
    for number, (name, median, least, greatest, stands_out) in enumerate(rows):
        top = y + TITLE_HEIGHT + number * (BAR_HEIGHT + BAR_GAP)
        middle = top + BAR_HEIGHT / 2
        left = x + NAME_WIDTH
        length = max(1, room * median / most)
        low, high = left + room * least / most, left + room * greatest / most
        weight = "600" if stands_out else "400"
        out += [
            _text(left - 6, middle + 4, name, INK, anchor="end", weight=weight),
            f'<rect x="{left}" y="{top}" width="{length:.1f}" height="{BAR_HEIGHT}" rx="2" '
            f'fill="{OURS if stands_out else OTHERS}"/>',
        ]
        if high - low > 1:
            out.append(
                f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8" '
                f'stroke="{INK}" fill="none"/>')
        out.append(_text(max(left + length, high) + 6, middle + 4, number_text(median), INK, weight=weight))
    return out


def number_text(value):
    """A number with three digits that count, at least."""
    if value is None or math.isnan(value):
        return "–"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def _text(x, y, text, fill, size=12, weight="400", anchor="start"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size}" font-weight="{weight}" '
            f'text-anchor="{anchor}">{html.escape(text)}</text>')
