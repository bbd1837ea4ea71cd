//! Lines of `name: got / wanted`, and whether all of them are as wanted.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;

/// The figures of a run.
#[derive(Default)]
pub(crate) struct Report {
    n_missed: usize,
}

impl Report {
    /// A figure that must hold.
    pub(crate) fn line(&mut self, name: &str, got: impl Display, wanted: impl Display, holds: bool) {
        println!("{name}: {got} / {wanted}{}", if holds { "" } else { "  MISSED" });
        self.n_missed += usize::from(!holds);
    }

    /// A number that must be 0.
    pub(crate) fn none(&mut self, name: &str, got: u64, places: &[String]) {
        self.line(name, got, 0, got == 0);
        places.iter().for_each(|place| println!("    {place}"));
    }

    /// Figures that were missed.
    pub(crate) fn n_missed(&self) -> usize {
        self.n_missed
    }
}

/// The most lines that a log has of one code in a second of the clock, which code that is, and lines that tell of a panic.
pub(crate) fn busiest_second(logs: &[&Path]) -> std::io::Result<(u64, String, u64)> {
    let (mut busiest, mut panics) = ((0, String::new()), 0);
    for log in logs {
        let text = String::from_utf8_lossy(&std::fs::read(log)?).into_owned();
        let mut lines: HashMap<(&str, &str), u64> = HashMap::new();
        for line in text.lines() {
            let code = line.split("code=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("none");
            panics += u64::from(code == "panic");
            // Up to the seconds of the time that a line begins with.
            *lines.entry((line.get(..19).unwrap_or_default(), code)).or_default() += 1;
        }
        if let Some((&(second, code), &n)) = lines.iter().max_by_key(|(_, n)| **n)
            && n > busiest.0
        {
            busiest = (n, format!("{code} at {second}"));
        }
    }
    Ok((busiest.0, busiest.1, panics))
}

/// How fast a level grows, by least squares, an hour. Samples are seconds and bytes.
pub(crate) fn slope_an_hour(samples: &[(f64, f64)]) -> f64 {
    #[allow(clippy::cast_precision_loss)] // a few thousand
    let n = samples.len().max(1) as f64;
    let mean = samples.iter().fold((0.0, 0.0), |sum, sample| (sum.0 + sample.0 / n, sum.1 + sample.1 / n));
    let (mut product, mut square) = (0.0, 0.0);
    for (time, level) in samples {
        product += (time - mean.0) * (level - mean.1);
        square += (time - mean.0) * (time - mean.0);
    }
    if square > 0.0 { product / square * 3600.0 } else { 0.0 }
}
