//! Tables of text. On a terminal they fit its width: cells are wrapped between words, and where even the longest words have no room side by
//! side, each row is shown below the one before, a cell a line. Elsewhere, for scripts: a line a row, the head first, a tab between cells.
//!
//! Nothing is ever cut off: what an operator looks for may be at the end of it.

use comfy_table::{ColumnConstraint, LineStyle, Table, TableStyle, Width, presets};
use std::fmt;
use unicode_width::UnicodeWidthStr;

const LOOK: TableStyle = presets::NOTHING.header_separator(LineStyle::none().fill('-'));
/// A space on both sides of each cell.
const PADDING: usize = 2;
/// Longer words may be broken.
const LONGEST_WORD: usize = 16;
/// Below so many columns for the cells, whatever is shown is left to the terminal to wrap.
const NARROWEST: usize = 8;

/// Rows under a head.
#[derive(Debug)]
pub(crate) struct Grid {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// An empty one.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self {
            head: head.iter().map(|&title| title.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, of as many cells as the head has.
    pub(crate) fn add_row<const N: usize>(&mut self, cells: [String; N]) {
        let cells = cells.into_iter().map(|cell| cell.replace('\t', " "));
        self.rows.push(cells.collect());
    }

    /// Laid out for a terminal of so many columns; without one, for scripts.
    fn laid_out(&self, width: Option<usize>) -> String {
        let Some(width) = width else {
            return self.for_scripts();
        };
        let room = width.saturating_sub(PADDING * self.head.len());
        match fitting(&self.columns(), room) {
            Some(widths) => table(Some(&self.head), &self.rows, &widths),
            None => self.one_below_the_other(width),
        }
    }

    fn for_scripts(&self) -> String {
        let line = |cells: &Vec<String>| {
            let cells = cells.iter().map(|cell| cell.replace('\n', " "));
            cells.collect::<Vec<_>>().join("\t")
        };
        let lines: Vec<String> = [&self.head]
            .into_iter()
            .chain(&self.rows)
            .map(line)
            .collect();
        lines.join("\n")
    }

    fn one_below_the_other(&self, width: usize) -> String {
        let titles = self.head.iter().map(|title| title.width()).max();
        let titles = titles.unwrap_or(0);
        let room = width.saturating_sub(2 * PADDING + titles).max(NARROWEST);
        let rows = self.rows.iter().map(|row| {
            let pairs = self.head.iter().zip(row);
            let pairs: Vec<Vec<String>> = pairs
                .map(|(title, cell)| vec![title.clone(), cell.clone()])
                .collect();
            table(None, &pairs, &[titles, room])
        });
        rows.collect::<Vec<_>>().join("\n\n")
    }

    /// Of each column how wide it is as it is, and how narrow it can be.
    fn columns(&self) -> Vec<Wide> {
        let column = |place: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(place));
            let mut column = Wide::default();
            for line in cells
                .chain(self.head.get(place))
                .flat_map(|cell| cell.lines())
            {
                let word = line.split(' ').map(UnicodeWidthStr::width).max();
                let word = word.unwrap_or(0).min(LONGEST_WORD);
                column.natural = column.natural.max(line.width());
                column.least = column.least.max(word);
            }
            column
        };
        (0..self.head.len()).map(column).collect()
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.laid_out(terminal_width()))
    }
}

#[derive(Clone, Copy, Default)]
struct Wide {
    natural: usize,
    least: usize,
}

/// How wide each column is so that all of them have room: the widest give way first. Nothing if they cannot.
fn fitting(columns: &[Wide], room: usize) -> Option<Vec<usize>> {
    let with_cap = |cap: usize| {
        columns
            .iter()
            .map(move |column| column.natural.min(column.least.max(cap)))
    };
    let widest = columns
        .iter()
        .map(|column| column.natural)
        .max()
        .unwrap_or(0);
    let cap = (0..=widest)
        .rev()
        .find(|&cap| with_cap(cap).sum::<usize>() <= room)?;
    Some(with_cap(cap).collect())
}

fn table(head: Option<&Vec<String>>, rows: &[Vec<String>], widths: &[usize]) -> String {
    let mut table = Table::new();
    table.force_no_tty().load_style(LOOK);
    if let Some(head) = head {
        table.set_header(head);
    }
    table.add_rows(rows);
    for (column, width) in table.column_iter_mut().zip(widths) {
        let width = u16::try_from(width.max(&1) + PADDING).unwrap_or(u16::MAX);
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
    table.trim_fmt()
}

/// Of the terminal that answers are printed to, if that is one.
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    // Some terminals do not know how wide they are.
    (size.ws_col > 0).then_some(size.ws_col.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Grid {
        let mut grid = Grid::new(&["name", "what is wrong", "state"]);
        let row =
            |name: &str, wrong: &str| [name.to_owned(), wrong.to_owned(), "in use".to_owned()];
        grid.add_row(row("orders-of-2026", "a copy is on a drained server"));
        grid.add_row(row("größer", "fewer copies\tthan wanted"));
        grid
    }

    #[test]
    fn a_wide_terminal_shows_each_row_in_a_line() {
        let shown = sample().laid_out(Some(60));
        assert_eq!(
            shown.lines().collect::<Vec<_>>(),
            [
                " name            what is wrong                  state",
                "-------------------------------------------------------",
                " orders-of-2026  a copy is on a drained server  in use",
                " größer          fewer copies than wanted       in use",
            ]
        );
    }

    #[test]
    fn in_a_narrower_one_the_widest_cells_are_wrapped_between_words() {
        let shown = sample().laid_out(Some(44));
        assert!(shown.lines().all(|line| line.width() <= 44), "{shown}");
        let wrapped =
            " orders-of-2026  a copy is on a      in use\n                 drained server\n";
        assert!(shown.contains(wrapped), "{shown}");
    }

    #[test]
    fn where_words_have_no_room_side_by_side_rows_are_one_below_the_other() {
        let shown = sample().laid_out(Some(31));
        assert!(shown.lines().all(|line| line.width() <= 31), "{shown}");
        assert!(
            shown.starts_with(" name           orders-of-2026\n"),
            "{shown}"
        );
        assert!(shown.contains("\n\n name           größer\n"), "{shown}");
        for words in ["drained", "wanted", "in use"] {
            assert!(shown.contains(words), "{shown}");
        }
        for width in 0..200 {
            assert!(!sample().laid_out(Some(width)).is_empty());
        }
    }

    #[test]
    fn scripts_get_a_line_a_row_and_a_tab_between_cells() {
        assert_eq!(
            sample().laid_out(None),
            "name\twhat is wrong\tstate\norders-of-2026\ta copy is on a drained server\tin use\ngrößer\tfewer copies than wanted\tin use"
        );
    }
}
