//! OME-NGFF: where the levels of an array lie in the world. The versions 0.4 and 0.5 share all but its place.
//!
//! Translations name the centre of voxel 0, in nanometers.

use serde::Serialize;

use crate::array::{ArrayKind, ArraySpec, Level};

use super::attributes::{AXIS_NAMES, centre_nm, path_of};

/// One image, or one set of labels, at all its levels.
#[derive(Serialize)]
pub(super) struct Multiscale<'a> {
    name: &'a str,
    axes: Vec<Axis>,
    datasets: Vec<Dataset>,
    /// How a coarser level came from a finer one.
    r#type: &'static str,
    /// Version 0.4 has it here.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
}

/// Makes napari open a Labels layer.
#[derive(Serialize)]
pub(super) struct ImageLabel {
    version: &'static str,
}

#[derive(Serialize)]
struct Axis {
    name: &'static str,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'static str>,
}

#[derive(Serialize)]
struct Dataset {
    path: String,
    #[serde(rename = "coordinateTransformations")]
    transformations: [Transformation; 2],
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Transformation {
    Scale { scale: Vec<f64> },
    Translation { translation: Vec<f64> },
}

impl<'a> Multiscale<'a> {
    /// All levels of the array; `version` if it is to stand here.
    pub(super) fn of(spec: &'a ArraySpec, version: Option<&'static str>) -> Self {
        let channel = spec.channels.map(|_| Axis { name: "c", r#type: "channel", unit: None });
        let space = AXIS_NAMES.map(|name| Axis { name, r#type: "space", unit: Some("nanometer") });
        let r#type = match spec.kind {
            ArrayKind::Image => "mean",
            ArrayKind::Labels => "mode",
        };
        Self {
            name: &spec.name,
            axes: channel.into_iter().chain(space).collect(),
            datasets: spec.levels.iter().enumerate().map(|(index, level)| Dataset::of(spec, index, level)).collect(),
            r#type,
            version,
        }
    }
}

impl ImageLabel {
    /// What marks labels; nothing for an image.
    pub(super) fn of(spec: &ArraySpec, version: &'static str) -> Option<Self> {
        (spec.kind == ArrayKind::Labels).then_some(Self { version })
    }
}

impl Dataset {
    fn of(spec: &ArraySpec, index: usize, level: &Level) -> Self {
        let scale = spec.voxel_size.at_scale(level.scale).nm();
        let translation = centre_nm(spec, level);
        // A channel has neither size nor place.
        let channel = |value: f64| spec.channels.map(|_| value);
        Self {
            path: path_of(index),
            transformations: [
                Transformation::Scale { scale: channel(1.0).into_iter().chain(scale).collect() },
                Transformation::Translation { translation: channel(0.0).into_iter().chain(translation).collect() },
            ],
        }
    }
}
