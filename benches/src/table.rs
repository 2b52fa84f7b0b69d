//! Text tables: columns as wide as their widest cell, figures to the right.

/// A table under construction.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads.
    pub fn new(heads: &[&str]) -> Table {
        Table { rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()] }
    }

    /// Adds a row; an empty one is a blank line.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text: the first column to the left, the others to the right.
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width - cell.chars().count());
                if column == 0 {
                    line.push_str(&format!("{cell}{padding}"));
                } else {
                    line.push_str(&format!("  {padding}{cell}"));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
            if index == 0 {
                text.push_str(&"-".repeat(widths.iter().sum::<usize>() + 2 * (columns - 1)));
                text.push('\n');
            }
        }
        text
    }
}

/// A figure with three digits that matter: `3.1k`, `42k`, `1.25M`, `0.84`.
pub fn figure(value: f64) -> String {
    if !value.is_finite() {
        return (if value.is_nan() { "–" } else { "∞" }).to_owned();
    }
    let (scaled, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{scaled:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits() {
        let figures = [0.8449, 12.34, 123.4, 9_876.0, 42_345.0, 1_250_000.0].map(figure);
        assert_eq!(figures, ["0.84", "12.3", "123", "9876", "42.3k", "1.25M"]);
        assert_eq!([f64::INFINITY, f64::NAN].map(figure), ["∞", "–"]);
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["case", "ops/s"]);
        table.row(vec!["web".to_owned(), "7".to_owned()]);
        assert_eq!(table.text(), "case  ops/s\n-----------\nweb       7\n");
    }
}
