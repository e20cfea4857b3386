//! All views as text, one below the other: for a pipe, and for a terminal that is asked once.

use super::draw::head;
use super::shown::Shown;
use super::table::{GAP, Row, View, Wanted, rows, width};

const ALL: Wanted<'static> = Wanted {
    filter: "",
    sort: None,
    is_reverse: false,
};

pub(super) fn text(shown: &Shown) -> String {
    let mut text = head(&shown.process).join("\n") + "\n";
    for warning in &shown.process.warnings {
        text += &format!("look: {warning}\n");
    }
    for view in View::ALL {
        let rows = rows(view, shown, &ALL);
        if !rows.is_empty() {
            text.push('\n');
            text += &table(view, &rows);
        }
    }
    text
}

/// Nothing is cut: what else there is to say stands below each line.
fn table(view: View, rows: &[Row]) -> String {
    let columns = view.columns();
    let mut widths: Vec<usize> = columns.iter().map(|column| width(column.head)).collect();
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(&row.cells) {
            *widest = (*widest).max(width(&cell.text));
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for ((cell, column), wide) in cells.zip(columns).zip(&widths) {
            let blank = " ".repeat(wide - width(cell));
            match column.is_number {
                true => line += &format!("{blank}{cell}"),
                false => line += &format!("{cell}{blank}"),
            }
            line += &" ".repeat(GAP);
        }
        line.trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut columns.iter().map(|column| column.head));
    for row in rows {
        text += &line(&mut row.cells.iter().map(|cell| &*cell.text));
        for note in &row.notes {
            text += &format!("    {note}\n");
        }
    }
    text
}
