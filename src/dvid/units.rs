//! DVID's free text for units of length.

/// This many `unit` in nanometers, or `None` if nobody knows the unit. No unit at all is nanometers, DVID's default.
pub(super) fn to_nanometers(size: f64, unit: &str) -> Option<f64> {
    // Divided where a unit is smaller than a nanometer: 0.1 and 0.001 are not exact, 10 and 1000 are.
    Some(match unit.trim().to_lowercase().as_str() {
        "" | "nm" | "nanometer" | "nanometers" | "nanometre" | "nanometres" => size,
        "pm" | "picometer" | "picometers" | "picometre" | "picometres" => size / 1e3,
        "a" | "å" | "angstrom" | "angstroms" | "ångström" | "ångstrom" => size / 1e1,
        // Two letters that look alike: micro sign and Greek mu.
        "um" | "µm" | "μm" | "micron" | "microns" | "micrometer" | "micrometers" | "micrometre" | "micrometres" => {
            size * 1e3
        }
        "mm" | "millimeter" | "millimeters" | "millimetre" | "millimetres" => size * 1e6,
        "cm" | "centimeter" | "centimeters" | "centimetre" | "centimetres" => size * 1e7,
        "m" | "meter" | "meters" | "metre" | "metres" => size * 1e9,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_known_by_many_names() {
        for (size, unit, nm) in [
            (3.2, "nanometers", 3.2),
            (8.0, "", 8.0),
            (8.0, "NM", 8.0),
            (3200.0, "pm", 3.2),
            (32.0, "Ångström", 3.2),
            (0.004, "microns", 4.0),
            (0.5, "\u{b5}m", 500.0),
            (0.5, "\u{3bc}m", 500.0),
            (0.5, " um ", 500.0),
            (2.0, "mm", 2e6),
            (1.0, "meters", 1e9),
        ] {
            assert_eq!(to_nanometers(size, unit), Some(nm), "{size} {unit:?}");
        }
        assert_eq!(to_nanometers(1.0, "furlong"), None);
    }
}
