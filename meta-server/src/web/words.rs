//! Numbers as people read them.

/// Three digits and a unit of thousands.
pub(super) fn count(number: f64) -> String {
    scaled(number, 1000.0, &["", "k", "M", "G"])
}

/// Bytes in binary units.
pub(super) fn bytes(number: f64) -> String {
    scaled(number, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

fn scaled(number: f64, step: f64, units: &[&str]) -> String {
    let mut number = number;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while number >= step
        && let Some(next) = units.next()
    {
        number /= step;
        unit = next;
    }
    if number >= 100.0 || number.fract() < 0.05 {
        format!("{number:.0}{unit}")
    } else {
        format!("{number:.1}{unit}")
    }
}

/// A latency.
pub(super) fn milliseconds(number: f64) -> String {
    if number >= 1000.0 {
        format!("{:.1} s", number / 1000.0)
    } else if number >= 10.0 {
        format!("{number:.0} ms")
    } else {
        format!("{number:.2} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 7.0, 7.25, 12_345.0, 2e6].map(count),
            ["0", "7", "7.2", "12.3k", "2M"]
        );
        assert_eq!(
            [100.0, 1536.0, 3e12].map(bytes),
            ["100 B", "1.5 KiB", "2.7 TiB"]
        );
        assert_eq!(
            [0.1, 42.3, 2500.0].map(milliseconds),
            ["0.10 ms", "42 ms", "2.5 s"]
        );
    }
}
