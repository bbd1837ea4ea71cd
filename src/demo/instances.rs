//! The datasets: what `dvidfs demo` shows, every type and odd case for tests, very large ones, and a user's own arrays.

use std::sync::Arc;

use crate::geometry::{Coordinate, Scale, VoxelBox};
use crate::voxels::Dtype;

use super::dataset::{Dataset, InstanceSpec, Kind, Stored};
use super::npy::NpyVolume;

const NM_8: [&str; 3] = ["8", "8", "8"];

fn instance(name: &str, kind: Kind, begin: [i64; 3], end: [i64; 3]) -> InstanceSpec {
    let data = VoxelBox::new(begin.into(), end.into()).expect("boxes of the demo are in order");
    InstanceSpec {
        name: name.to_owned(),
        kind,
        stored: Stored::Lz4,
        block_shape: Coordinate::splat(64),
        data,
        voxel_size_xyz: NM_8,
        units: "nanometers",
        coarser_by: Scale::FULL,
        holes: false,
        null_extents: false,
        versioned: true,
        bucket: false,
        edition: 0,
        incarnation: 0,
        volume: None,
    }
}

/// An image and its siblings `name_1` …: the data at half size each.
fn pyramid(base: &InstanceSpec, n_siblings: u8) -> Vec<InstanceSpec> {
    let sibling = |k| {
        let scale = Scale(k);
        InstanceSpec {
            name: format!("{}_{k}", base.name),
            data: base.data.at_scale(scale),
            coarser_by: scale,
            ..base.clone()
        }
    };
    std::iter::once(base.clone()).chain((1..=n_siblings).map(sibling)).collect()
}

impl Dataset {
    /// The same with these instances alone.
    #[must_use]
    pub fn only(mut self, names: &[&str]) -> Self {
        self.instances.retain(|spec| names.contains(&spec.name.as_str()));
        self
    }

    /// The same with one instance changed; a labelmap keeps its mapping.
    #[must_use]
    pub fn with(mut self, name: &str, change: impl FnOnce(&mut InstanceSpec)) -> Self {
        if let Some(spec) = self.instances.iter_mut().find(|spec| spec.name == name) {
            change(Arc::make_mut(spec));
        }
        self
    }

    /// The same with one more instance; a labelmap has no bodies of its own.
    #[must_use]
    pub fn with_instance(mut self, spec: InstanceSpec) -> Self {
        self.instances.push(Arc::new(spec));
        self
    }

    /// The same with a version committed at a time, in seconds since 1970.
    #[must_use]
    pub fn with_commit(mut self, version: usize, seconds: u64) -> Self {
        self.committed.insert(version, seconds);
        self
    }

    /// What `dvidfs demo` shows: gray tissue and its segmentation, that fit each other.
    #[must_use]
    pub fn standard() -> Self {
        let gray = instance("grayscale", Kind::Image(Dtype::Uint8), [0; 3], [256, 384, 512]);
        let mut instances = pyramid(&gray, 3);
        instances.push(instance("segmentation", Kind::LabelMap(3), [0; 3], [256, 384, 512]));
        let jpeg = instance("grayscalejpeg", Kind::Image(Dtype::Uint8), [0; 3], [128, 128, 256]);
        instances.push(InstanceSpec { stored: Stored::Jpeg, ..jpeg });
        instances.push(instance("notes", Kind::Other("keyvalue"), [0; 3], [0; 3]));
        Self::new("demo", instances)
    }

    /// Every type and odd case, small enough that every voxel can be compared by several readers.
    #[must_use]
    pub fn test() -> Self {
        let image = |name, begin, end| instance(name, Kind::Image(Dtype::Uint8), begin, end);
        let wide = |name, dtype| InstanceSpec {
            block_shape: Coordinate::splat(32),
            ..instance(name, Kind::Image(dtype), [0; 3], [40, 70, 100])
        };
        let mut instances = pyramid(&image("gray", [0; 3], [100, 130, 150]), 2);
        instances.extend(with_block_shapes(
            pyramid(&image("mixed", [-20, 0, 5], [80, 97, 131]), 2),
            [[64, 64, 64], [32, 32, 32], [48, 16, 100]],
        ));
        instances.extend(buckets());
        instances.extend([
            InstanceSpec { stored: Stored::Gzip, ..image("gray_gzip", [0; 3], [64, 70, 80]) },
            InstanceSpec { stored: Stored::None, ..image("gray_none", [0; 3], [64, 70, 80]) },
            InstanceSpec { stored: Stored::Snappy, ..image("gray_snappy", [0; 3], [40, 70, 80]) },
            InstanceSpec { stored: Stored::Jpeg, ..image("gray_jpeg", [0; 3], [64, 128, 128]) },
            wide("u16", Dtype::Uint16),
            wide("u32", Dtype::Uint32),
            wide("u64", Dtype::Uint64),
            wide("f32", Dtype::Float32),
            InstanceSpec { block_shape: Coordinate::splat(48), ..image("odd48", [0; 3], [100, 97, 50]) },
            InstanceSpec { block_shape: Coordinate::new(16, 32, 128), ..image("flatblocks", [0; 3], [40, 70, 300]) },
            InstanceSpec { voxel_size_xyz: ["3.2", "4", "40"], ..image("aniso", [0; 3], [30, 60, 90]) },
            InstanceSpec {
                voxel_size_xyz: ["0.008", "0.008", "0.05"],
                units: "microns",
                ..image("microns", [0; 3], [30, 60, 90])
            },
            image("neg", [-70, 20, -130], [10, 90, 30]),
            InstanceSpec { holes: true, block_shape: Coordinate::splat(32), ..image("holes", [0; 3], [100, 100, 100]) },
            InstanceSpec { null_extents: true, ..image("null", [0; 3], [64, 64, 64]) },
            InstanceSpec { versioned: false, ..image("unversioned", [0; 3], [64, 64, 64]) },
            image("odd name", [0; 3], [10, 20, 30]),
            image("odd%name", [0; 3], [10, 20, 30]),
            image("oddé", [0; 3], [10, 20, 30]),
            InstanceSpec { holes: true, ..instance("segmentation", Kind::LabelMap(3), [0; 3], [150, 140, 160]) },
            InstanceSpec {
                block_shape: Coordinate::splat(32),
                ..instance("seg32", Kind::LabelMap(2), [-40, 0, 33], [40, 70, 100])
            },
            InstanceSpec {
                block_shape: Coordinate::splat(48),
                ..instance("seg48", Kind::LabelMap(1), [0; 3], [50, 97, 60])
            },
            instance("labelarray", Kind::LabelArray(2), [0; 3], [100, 90, 80]),
            instance("kv", Kind::Other("keyvalue"), [0; 3], [0; 3]),
            instance("rois", Kind::Other("roi"), [0; 3], [0; 3]),
            instance("synapses", Kind::Other("annotation"), [0; 3], [0; 3]),
        ]);
        instances.extend(in_channels());
        let labelblk = instance("labelblk", Kind::LabelBlk, [0; 3], [70, 60, 50]);
        instances.extend(pyramid(&InstanceSpec { block_shape: Coordinate::splat(32), ..labelblk }, 1));
        Self::new("test", instances)
    }

    /// Volumes of 10^15 voxels over the same function, for benchmarks and for what must not grow with the volume.
    #[must_use]
    pub fn large() -> Self {
        let end = [100_032; 3];
        let gray = instance("grayscale", Kind::Image(Dtype::Uint8), [0; 3], end);
        let labels = instance("segmentation", Kind::LabelMap(0), [0; 3], end);
        Self::new("large", vec![gray, labels])
    }

    /// The same with levels and with every number of bytes that a voxel can have, to open with everything that reads
    /// arrays.
    #[must_use]
    pub fn petavoxel() -> Self {
        let end = [100_352; 3];
        let image = |name, kind| instance(name, kind, [0; 3], end);
        let mut instances = pyramid(&image("grayscale", Kind::Image(Dtype::Uint8)), 7);
        instances.push(image("u16", Kind::Image(Dtype::Uint16)));
        instances.push(image("f32", Kind::Image(Dtype::Float32)));
        instances.push(image("rgba", Kind::Rgba));
        instances.push(image("segmentation", Kind::LabelMap(1)));
        Self::new("petavoxel", instances)
    }

    /// Arrays of a user, by name: uint64 as labelmaps whose bodies are their supervoxels, others as images.
    #[must_use]
    pub fn of_volumes(volumes: Vec<(String, NpyVolume)>) -> Self {
        let instances = volumes.into_iter().map(|(name, volume)| {
            let shape = volume.shape();
            let kind = match volume.dtype() {
                _ if volume.is_rgba() => Kind::Rgba,
                Dtype::Uint64 => Kind::LabelMap(n_scales(shape)),
                dtype @ (Dtype::Uint8 | Dtype::Uint16 | Dtype::Uint32 | Dtype::Float32) => Kind::Image(dtype),
            };
            InstanceSpec { volume: Some(Arc::new(volume)), ..instance(&name, kind, [0; 3], shape.axes()) }
        });
        Self::new("volumes", instances.collect())
    }
}

/// Scales above 0 until a block holds the whole volume. A block of scale 4 is made from 1024^3 voxels, and none from more.
fn n_scales(shape: Coordinate) -> u8 {
    let longest = shape.axes().into_iter().fold(1, i64::max);
    (0..4).find(|scale| longest >> scale <= 64).unwrap_or(4)
}

/// Images that the server has from buckets: JPEG with a coarser level, and raw.
fn buckets() -> Vec<InstanceSpec> {
    // The pictures are whole squares of 8 x 8 pixels at both levels, so every decoder gives the same.
    let image = |name, end| instance(name, Kind::Image(Dtype::Uint8), [0; 3], end);
    let em = InstanceSpec { bucket: true, stored: Stored::Jpeg, ..image("em", [100, 144, 208]) };
    let mut instances = pyramid(&em, 1);
    instances[0].holes = true;
    instances[1].voxel_size_xyz = ["16", "16", "16"];
    instances.push(InstanceSpec { bucket: true, stored: Stored::None, ..image("rawem", [64, 64, 128]) });
    instances
}

/// Images of four channels in all forms in which the server keeps them, with a coarser level, at odd places, with holes.
fn in_channels() -> Vec<InstanceSpec> {
    let rgba = |name, stored, block_shape: [i64; 3], begin, end| InstanceSpec {
        stored,
        block_shape: block_shape.into(),
        ..instance(name, Kind::Rgba, begin, end)
    };
    let mut instances = pyramid(&rgba("rgba", Stored::Lz4, [32; 3], [0; 3], [40, 70, 100]), 1);
    instances.push(rgba("rgba_gzip", Stored::Gzip, [16, 32, 64], [-10, 3, -70], [30, 40, 50]));
    instances.push(InstanceSpec { holes: true, ..rgba("rgba_none", Stored::None, [32; 3], [0; 3], [64, 64, 64]) });
    instances
}

/// The levels of a pyramid with blocks of these shapes.
fn with_block_shapes<const N: usize>(levels: Vec<InstanceSpec>, shapes: [[i64; 3]; N]) -> Vec<InstanceSpec> {
    let reshaped = |(level, shape): (InstanceSpec, [i64; 3])| InstanceSpec { block_shape: shape.into(), ..level };
    levels.into_iter().zip(shapes).map(reshaped).collect()
}
