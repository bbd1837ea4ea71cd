//! Reads of an array against a pure function of the voxel.

use std::sync::mpsc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::array::spec::LevelSource;
use crate::cache::CacheConfig;
use crate::dvid::{Block, BlockForm, Error as DvidError, FetchBlocks};
use crate::geometry::BlockBox;
use crate::metrics::Metrics;

const BLOCK: Coordinate = Coordinate::new(5, 3, 7);

/// Differs along every axis and from channel to channel, with no short period; never 0.
fn value(channel: usize, voxel: Coordinate) -> u16 {
    let channel = i64::try_from(channel).unwrap();
    let mixed = channel * 17_393 + voxel.z() * 7919 + voxel.y() * 631 + voxel.x() * 53;
    u16::try_from(mixed.rem_euclid(65_521)).unwrap() | 1
}

/// Every fifth block was never written.
fn is_stored(block: BlockIndex) -> bool {
    (block.0.z() + 2 * block.0.y() + 3 * block.0.x()).rem_euclid(5) != 0
}

fn model(channel: usize, voxel: Coordinate, stored: VoxelBox) -> u16 {
    let block = BlockIndex(voxel.div_floor(BLOCK));
    if stored.contains_voxel(voxel) && is_stored(block) { value(channel, voxel) } else { 0 }
}

/// So many channels, if any.
#[derive(Debug)]
struct PureSource(Option<usize>);

impl FetchBlocks for PureSource {
    fn form(&self) -> BlockForm {
        BlockForm { dtype: Dtype::Uint16, channels: self.0, block_shape: BLOCK, blocks_per_request: 4 }
    }

    fn freshness(&self) -> Freshness {
        Freshness::Forever
    }

    fn stored_as(&self, view: View) -> View {
        view
    }

    fn fetch_blocks(&self, _: View, _: Scale, blocks: BlockBox) -> Result<Vec<Block>, DvidError> {
        let fetch = |block: BlockIndex| {
            if !is_stored(block) {
                return Block::Absent;
            }
            let voxels = VoxelBox::from_shape(block.0 * BLOCK, BLOCK).unwrap();
            let plane = |channel| voxels.indices().flat_map(move |voxel| value(channel, voxel).to_le_bytes());
            let bytes = (0..self.0.unwrap_or(1)).flat_map(plane).collect();
            Block::Dense(Arc::new(Volume::with_channels(Dtype::Uint16, self.0, BLOCK, bytes).unwrap()))
        };
        Ok(blocks.blocks().map(fetch).collect())
    }

    fn is_ready(&self, _: View) -> bool {
        true
    }

    fn prepare(&self, _: View) -> Result<(), DvidError> {
        Ok(())
    }

    fn decode(&self, _: View, block: &Block) -> Result<Arc<Volume>, DvidError> {
        match block {
            Block::Dense(volume) => Ok(Arc::clone(volume)),
            Block::Absent | Block::Labels(_) => panic!("this source has dense blocks"),
        }
    }
}

fn array() -> DvidArray {
    array_within(CacheConfig::default(), &Arc::default(), None)
}

fn array_of(channels: Option<usize>) -> DvidArray {
    array_within(CacheConfig::default(), &Arc::default(), channels)
}

fn array_within(config: CacheConfig, metrics: &Arc<Metrics>, channels: Option<usize>) -> DvidArray {
    array_with_levels(config, metrics, channels, 1)
}

/// All levels have one source, whose voxels follow from their numbers at each.
fn array_with_levels(config: CacheConfig, metrics: &Arc<Metrics>, channels: Option<usize>, n_levels: u8) -> DvidArray {
    let cache = BlockCache::new(config, Arc::clone(metrics));
    let source = cache.add_source(Arc::new(PureSource(channels)));
    let data = VoxelBox::new(Coordinate::new(-3, 2, -17), Coordinate::new(19, 23, 30)).unwrap();
    let levels = vec![LevelSource { source: "pure".into(), block_shape: BLOCK, extents: None }; n_levels.into()];
    let kind = (Dtype::Uint16, ArrayKind::Image);
    let size = VoxelSize::new([40.0, 4.0, 3.2]).unwrap();
    let spec = ArraySpec::new("pure".into(), View::Stored, kind, size, data, levels).unwrap();
    DvidArray::new(Parts {
        spec: spec.with_channels(channels).unwrap(),
        source: Source { server: "http://x".into(), uuid: "ab".into(), name: "pure".into() },
        freshness: Freshness::Forever,
        levels: (0..n_levels).map(|scale| LevelBlocks { source, scale: Scale(scale) }).collect(),
        cache,
        info: json!({"Base": {}}).as_object().unwrap().clone(),
        described: Map::new(),
    })
}

fn read_bytes(array: &DvidArray, file_box: VoxelBox, channels: Channels, window: Range<u64>) -> Vec<u8> {
    let (send, receive) = mpsc::channel();
    let wanted = VoxelBytes { level: 0, file_box, channels, window };
    array.read_bytes(wanted, Box::new(move |bytes| send.send(bytes).unwrap()));
    receive.recv().unwrap().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_window_of_any_file_equals_the_model(
        begin in prop::array::uniform3(-40_i64..30),
        shape in prop::array::uniform3(1_i64..24),
        (a, b) in (0.0..1.0_f64, 0.0..1.0_f64),
        (n_channels, channels) in prop::sample::select(vec![
            (None, Channels::One(0)), (None, Channels::Interleaved(1)), (Some(4), Channels::One(0)),
            (Some(4), Channels::One(3)), (Some(4), Channels::Interleaved(4)), (Some(3), Channels::Interleaved(3)),
        ]),
    ) {
        let array = array_of(n_channels);
        let stored = array.spec().levels[0].stored;
        let file_box = VoxelBox::from_shape(begin.into(), shape.into()).unwrap();
        let here = match channels {
            Channels::One(channel) => channel..channel + 1,
            Channels::Interleaved(n) => 0..n,
        };
        let of_voxel = |voxel| here.clone().flat_map(move |channel| model(channel, voxel, stored).to_le_bytes());
        let file: Vec<u8> = file_box.indices().flat_map(of_voxel).collect();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = |part: f64| (part * file.len() as f64) as usize;
        let (a, b) = (at(a.min(b)), at(a.max(b)));
        prop_assert_eq!(read_bytes(&array, file_box, channels, a as u64..b as u64), &file[a..b]);
    }

    #[test]
    fn any_region_equals_the_model(
        begin in prop::array::uniform3(0_i64..20),
        shape in prop::array::uniform3(0_i64..24),
        channels in prop::sample::select(vec![None, Some(4)]),
    ) {
        let array = array_of(channels);
        let (data, stored) = (array.spec().data, array.spec().levels[0].stored);
        let wanted = VoxelBox::from_shape(data.begin() + begin.into(), shape.into()).unwrap();
        let roi = Roi::of_voxels(wanted, array.voxel_size());
        let plane = |channel| wanted.indices().map(move |voxel| model(channel, voxel, stored));
        let expected: Vec<u16> = (0..channels.unwrap_or(1)).flat_map(plane).collect();
        if data.contains(wanted) {
            let read = array.read_as::<u16>(roi).unwrap();
            prop_assert_eq!(read.shape().len(), array.axes().len());
            prop_assert_eq!(read.into_raw_vec_and_offset().0, expected);
        } else {
            let refused = matches!(array.read(roi), Err(Error::OutOfBounds(_)));
            prop_assert!(refused);
            let filled = array.read_voxels_or_fill(Scale::FULL, wanted).unwrap().into_typed::<u16>().unwrap();
            prop_assert_eq!(filled.into_raw_vec_and_offset().0, expected);
        }
    }
}

#[test]
fn the_data_slices_as_numpy_does() {
    let array = array();
    let data = array.spec().data;
    assert_eq!(array.data().shape(), [22, 21, 47]);
    let slice = array.data().slice([1..3, 0..21, 40..47]).unwrap().into_typed::<u16>().unwrap();
    assert_eq!(slice.shape(), [2, 21, 7]);
    let voxel = data.begin() + Coordinate::new(2, 20, 46);
    assert_eq!(slice[[1, 20, 6]], model(0, voxel, array.spec().levels[0].stored));
    assert!(array.data().slice([0..23, 0..1, 0..1]).is_err());
    assert!(array.data().slice([0..1, 0..1]).is_err() && array.data().slice([0..1, 0..1, 0..1, 0..1]).is_err());
    let roi =
        Roi::of_voxels(VoxelBox::new(Coordinate::new(0, 5, 0), Coordinate::new(4, 6, 9)).unwrap(), array.voxel_size());
    assert_eq!(array.slices(roi).unwrap(), [3..7, 3..4, 17..26]);
}

#[test]
fn channels_are_the_first_axis_everywhere() {
    let array = array_of(Some(4));
    let (data, stored) = (array.spec().data, array.spec().levels[0].stored);
    let axes: String = array.axes().iter().map(|axis| axis.name()).collect();
    assert_eq!((axes.as_str(), array.dims(), array.num_channels()), ("czyx", 3, Some(4)));
    assert_eq!(array.spatial_axes(), [Axis::Z, Axis::Y, Axis::X]);
    let (view, size) = (array.data(), array.voxel_size());
    assert_eq!(view.shape(), [4, 22, 21, 47]);
    let slice = view.slice([1..3, 5..9, 0..21, 0..2]).unwrap().into_typed::<u16>().unwrap();
    assert_eq!(slice.shape(), [2, 4, 21, 2]);
    let voxel = data.begin() + Coordinate::new(6, 4, 1);
    assert_eq!((slice[[0, 1, 4, 1]], slice[[1, 1, 4, 1]]), (model(1, voxel, stored), model(2, voxel, stored)));
    assert!(view.slice([0..5, 0..1, 0..1, 0..1]).is_err() && view.slice([0..1, 0..1, 0..1]).is_err());
    let corner = VoxelBox::from_shape(data.begin(), Coordinate::new(2, 3, 4)).unwrap();
    let slices = array.slices(Roi::of_voxels(corner, size)).unwrap();
    assert_eq!(slices, [0..4, 0..2, 0..3, 0..4]);
    assert_eq!(view.slice(slices).unwrap(), array.read(Roi::of_voxels(corner, size)).unwrap());
}

#[test]
fn an_array_tells_what_it_is() {
    let array: &dyn Array = &array();
    assert_eq!((array.dims(), array.num_channels(), array.writable()), (3, None, false));
    assert_eq!(array.axes().iter().map(|axis| axis.name()).collect::<String>(), "zyx");
    assert_eq!(array.roi().offset(), [-120.0, 8.0, -17.0 * 3.2]);
}

#[test]
fn metadata_is_added_but_dvids_own_keys_stay() {
    let array = array();
    array.add_metadata(json!({"stain": "osmium"})).unwrap();
    assert_eq!(array.attrs()["stain"], "osmium");
    assert_eq!(array.add_metadata(json!([1])), Err(MetadataError::NotAnObject));
    assert_eq!(array.add_metadata(json!({"Base": 1})), Err(MetadataError::TakenKey("Base".into())));
    assert_eq!(array.described()["attrs"]["stain"], "osmium");
}

#[test]
#[cfg(feature = "neuroglancer")]
fn neuroglancer_is_pointed_at_the_server() {
    let array = array();
    assert_eq!(array.neuroglancer_source().unwrap(), "dvid://http://x/ab/pure");
    let layer = array.neuroglancer_layer().unwrap();
    assert_eq!((&layer["type"], &layer["name"]), (&json!("image"), &json!("pure")));
    let dimensions = array.output_dimensions().unwrap();
    let x = dimensions["x"][0].as_f64().unwrap();
    assert!((x - 3.2e-9).abs() < 1e-24 && dimensions["z"][1] == "m");
    assert_eq!(array.transform_matrix().unwrap()[2], [0.0, 0.0, 1.0, 0.0]);
    assert_eq!(array.neuroglancer_state().unwrap()["position"], json!([6.5, 12.5, 8.0]));
}

#[test]
#[cfg(not(feature = "neuroglancer"))]
fn without_the_feature_neuroglancer_is_no_such_module() {
    let array = array();
    assert!(!array.can_neuroglance());
    assert_eq!(array.neuroglancer_layer().unwrap_err().name, "neuroglancer");
    assert_eq!(array.neuroglancer_source().unwrap_err().name, "neuroglancer");
}

#[test]
fn a_box_that_no_memory_holds_is_an_error() {
    let array = array();
    for wanted in [
        VoxelBox::from_shape(Coordinate::ZERO, Coordinate::splat(1 << 50)),
        VoxelBox::new(Coordinate::splat(i64::MIN), Coordinate::splat(i64::MAX)),
    ] {
        assert!(matches!(array.read_voxels_or_fill(Scale::FULL, wanted.unwrap()), Err(Error::TooLarge(_))));
    }
}

#[test]
fn an_empty_box_is_read_at_once_however_deep_it_is() {
    let array = array();
    let none = VoxelBox::from_shape(Coordinate::ZERO, Coordinate::new(1 << 60, 0, 5)).unwrap();
    assert_eq!(array.read_voxels_or_fill(Scale::FULL, none).unwrap().shape()[1], 0);
}

#[test]
fn a_read_of_any_extent_stays_within_the_budget() {
    for channels in [None, Some(4)] {
        let metrics = Arc::new(Metrics::default());
        let memory_bytes = 16 << 10;
        let array = array_within(CacheConfig { memory_bytes, ..CacheConfig::default() }, &metrics, channels);
        let data = array.spec().data;
        let most_held = std::thread::scope(|scope| {
            let reader = scope.spawn(|| (0..20).for_each(|_| drop(array.read_voxels(Scale::FULL, data).unwrap())));
            let mut most = 0;
            while !reader.is_finished() {
                most = most.max(metrics.get(crate::metrics::Counter::CacheHeldBytes));
            }
            most
        });
        assert!(most_held <= memory_bytes as u64, "{most_held} bytes were held with {channels:?}");
    }
}

#[test]
fn a_window_over_any_number_of_blocks_stays_within_the_budget() {
    let metrics = Arc::new(Metrics::default());
    let memory_bytes = 16 << 10;
    let array = array_within(CacheConfig { memory_bytes, ..CacheConfig::default() }, &metrics, None);
    let data = array.spec().data;
    let whole = 0..u64::try_from(data.n_voxels()).unwrap() * 2;
    let expected = read_bytes(&self::array(), data, Channels::One(0), whole.clone());
    let most_held = std::thread::scope(|scope| {
        let read = || assert!(read_bytes(&array, data, Channels::One(0), whole.clone()) == expected);
        let reader = scope.spawn(move || (0..20).for_each(|_| read()));
        let mut most = 0;
        while !reader.is_finished() {
            most = most.max(metrics.get(crate::metrics::Counter::CacheHeldBytes));
        }
        most
    });
    assert!(most_held <= memory_bytes as u64, "{most_held} bytes were held");
}

#[test]
fn a_box_is_an_array_of_its_own_whose_padding_is_zero() {
    let array = Arc::new(array());
    let wanted = VoxelBox::new(Coordinate::new(-1, 5, -10), Coordinate::new(11, 21, 25)).unwrap();
    let boxed = crate::array::BoxedArray::new(Arc::clone(&array), "part".into(), Scale::FULL, wanted).unwrap();
    let spec = boxed.spec();
    assert_eq!((spec.name.as_str(), spec.data, spec.levels.len()), ("part", wanted, 1));
    assert_eq!((spec.origin(), spec.levels[0].shape), (wanted.begin(), wanted.shape()));
    // A file that reaches beyond the box on every side, and into data there.
    let file_box = VoxelBox::new(Coordinate::new(-3, 2, -17), Coordinate::new(19, 23, 30)).unwrap();
    let stored = array.spec().levels[0].stored;
    let in_box = |voxel| if wanted.contains_voxel(voxel) { model(0, voxel, stored) } else { 0 };
    let expected: Vec<u8> = file_box.indices().flat_map(|voxel| in_box(voxel).to_le_bytes()).collect();
    let (send, receive) = mpsc::channel();
    let window = 3..expected.len() as u64 - 3;
    let wanted_bytes = VoxelBytes { level: 0, file_box, channels: Channels::One(0), window };
    boxed.read_bytes(wanted_bytes, Box::new(move |bytes| send.send(bytes).unwrap()));
    assert_eq!(receive.recv().unwrap().unwrap(), expected[3..expected.len() - 3]);
    let described = boxed.described();
    assert_eq!(described["box"], json!({"begin": [-1, 5, -10], "end": [11, 21, 25]}));
    assert_eq!((&described["name"], &described["shape"]), (&json!("part"), &json!([12, 16, 35])));
}

#[test]
fn a_box_of_a_coarse_scale_has_that_scales_voxels_and_lies_where_they_lie() {
    let array = Arc::new(array_with_levels(CacheConfig::default(), &Arc::default(), None, 3));
    let wanted = VoxelBox::new(Coordinate::new(-1, 1, -5), Coordinate::new(4, 5, 6)).unwrap();
    let boxed = crate::array::BoxedArray::new(Arc::clone(&array), "part".into(), Scale(2), wanted).unwrap();
    let (spec, whole) = (boxed.spec(), &array.spec().levels[2]);
    assert_eq!((spec.finest, spec.levels[0].scale, spec.origin()), (Scale(2), Scale::FULL, wanted.begin()));
    assert_eq!(spec.voxel_size, array.voxel_size().at_scale(Scale(2)));
    let expected: Vec<u8> = wanted.indices().flat_map(|voxel| model(0, voxel, whole.stored).to_le_bytes()).collect();
    let (send, receive) = mpsc::channel();
    let window = 0..expected.len() as u64;
    let wanted_bytes = VoxelBytes { level: 0, file_box: wanted, channels: Channels::One(0), window };
    boxed.read_bytes(wanted_bytes, Box::new(move |bytes| send.send(bytes).unwrap()));
    assert_eq!(receive.recv().unwrap().unwrap(), expected);
}

#[test]
fn a_box_that_is_not_all_data_is_refused() {
    use crate::array::{BoxError, BoxedArray};
    let array = Arc::new(array());
    let cut = |scale, begin: [i64; 3], end: [i64; 3]| {
        let wanted = VoxelBox::new(begin.into(), end.into()).unwrap();
        BoxedArray::new(Arc::clone(&array), "part".into(), scale, wanted).map(|_| ())
    };
    assert_eq!(cut(Scale::FULL, [-3, 2, -17], [19, 23, 30]), Ok(()));
    assert!(matches!(cut(Scale::FULL, [-4, 2, -17], [19, 23, 30]), Err(BoxError::OutOfBounds(_))));
    assert!(matches!(cut(Scale::FULL, [0, 5, 5], [0, 6, 6]), Err(BoxError::OutOfBounds(_))));
    assert_eq!(cut(Scale(1), [0, 5, 5], [1, 6, 6]), Err(BoxError::NoSuchScale(Scale(1))));
}
