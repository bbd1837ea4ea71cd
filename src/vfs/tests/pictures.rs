//! Directories with two grids of files, and checksums that need a whole picture.

use std::cell::Cell;
use std::sync::mpsc::{Receiver, channel};

use libdeflater::{Decompressor, crc32};

use super::*;

fn pictures(instances: Vec<InstanceFiles>) -> VirtualFs {
    let mut layouts = LayoutOptions::default();
    layouts.kinds.retain(|kind| kind.name() == "slices");
    mount_in(instances, layouts)
}

/// The answer of a read that may come later, or nothing if the read was dropped.
fn ask(fs: &VirtualFs, ino: u64, offset: u64, size: u32) -> Receiver<Result<Vec<u8>, Error>> {
    let (sender, receiver) = channel();
    fs.read(ino, 0, ByteRange::new(offset, size), Box::new(move |result| sender.send(result).unwrap()));
    receiver
}

fn read_picture(fs: &VirtualFs, attributes: Attributes, window: u32) -> Vec<u8> {
    let starts = (0..attributes.size).step_by(window as usize);
    let bytes: Vec<u8> = starts.flat_map(|at| ask(fs, attributes.ino, at, window).recv().unwrap().unwrap()).collect();
    assert_eq!(bytes.len() as u64, attributes.size);
    bytes
}

/// The chunks of a PNG file, whose checksums are right.
fn png_chunks(bytes: &[u8]) -> Vec<(&str, &[u8])> {
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    let (mut rest, mut chunks) = (&bytes[8..], Vec::new());
    while !rest.is_empty() {
        let number = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap());
        let end = 8 + number(0) as usize;
        let name = std::str::from_utf8(&rest[4..8]).unwrap();
        assert_eq!(crc32(&rest[4..end]), number(end), "{name}");
        chunks.push((name, &rest[8..end]));
        rest = &rest[end + 4..];
    }
    chunks
}

/// Width, height and the rows with their filters.
fn decode(bytes: &[u8], pixel_bytes: usize) -> (usize, usize, Vec<u8>) {
    let chunks = png_chunks(bytes);
    let [("IHDR", ihdr), ("IDAT", idat), ("IEND", [])] = chunks[..] else { panic!("{chunks:?}") };
    let [width, height] = [0, 4].map(|at| u32::from_be_bytes(ihdr[at..at + 4].try_into().unwrap()) as usize);
    let mut rows = vec![0; height * (1 + width * pixel_bytes)];
    // This checks Adler-32 too.
    let n = Decompressor::new().zlib_decompress(idat, &mut rows).unwrap();
    assert_eq!(n, rows.len());
    (width, height, rows)
}

/// Where the voxel of a picture lies: along the axes down and to the right, and the axis that its name counts.
fn position(plane: &str, row: i64, column: i64, index: i64) -> [i64; 3] {
    match plane {
        "xy" => [index, row, column],
        "xz" => [row, index, column],
        _ => [row, column, index],
    }
}

#[test]
fn every_pixel_of_every_picture_is_the_voxel_that_its_place_tells() {
    let (gray, seg) = (gray(), segmentation());
    let fs = pictures(vec![with_voxels(&gray, None), with_voxels(&seg, None)]);
    let mut windows = [131_072, 99_991, 333, 65_535, u32::MAX].into_iter().cycle();
    let (mut n_png, mut n_tiff) = (0, 0);
    for (path, attributes) in walk(&fs).into_iter().filter(|(path, _)| path.contains("slices/s")) {
        let parts: Vec<_> = path.split('/').collect();
        let &[instance, "slices", level, plane, name] = &parts[..] else { continue };
        let spec = if instance == "gray" { &gray.spec } else { &seg.spec };
        let level: usize = level[1..].parse().unwrap();
        let data = spec.data.at_scale(spec.levels[level].scale);
        let index: i64 = name[..6].parse().unwrap();
        let itemsize = spec.dtype.itemsize();
        let bytes = read_picture(&fs, attributes, windows.next().unwrap());
        let (rows, width, skip, pixel_bytes) = if name.ends_with(".png") {
            n_png += 1;
            let pixel_bytes = if itemsize == 8 { 3 } else { 1 };
            let (width, _, rows) = decode(&bytes, pixel_bytes);
            (rows, width, 1, pixel_bytes)
        } else {
            n_tiff += 1;
            let width = u32::from_le_bytes(bytes[18..22].try_into().unwrap()) as usize;
            (bytes[256..].to_vec(), width, 0, itemsize)
        };
        for (row, pixels) in (0..).zip(rows.chunks_exact(skip + width * pixel_bytes)) {
            for (column, pixel) in (0..).zip(pixels[skip..].chunks_exact(pixel_bytes)) {
                // Rows and columns begin with the data, the index with the array.
                let [z, y, x] = position(plane, row, column, index);
                let begin = |axis: usize| {
                    if position(plane, 0, 0, 1)[axis] == 1 { spec.levels[level].origin } else { data.begin() }
                };
                let at = Coordinate::new(z + begin(0).z(), y + begin(1).y(), x + begin(2).x());
                let value = model_voxel(spec, level, at);
                if pixel_bytes == 3 {
                    assert_eq!(pixel == [0; 3], value == 0, "{path} {at}");
                } else {
                    assert_eq!(pixel, &value.to_le_bytes()[..itemsize], "{path} {at}");
                }
            }
        }
    }
    // Gray: 30 + 40 + 80 planes, and half as many at the next level; labels: 2 + 40 + 70.
    assert_eq!((n_tiff, n_png), (150 + 75 + 112, 150 + 75 + 112));
}

#[test]
fn two_grids_in_one_directory_are_listed_one_after_the_other() {
    let fs = pictures(vec![with_voxels(&gray(), None)]);
    let folder = find(&fs, "gray/slices/s1/xy").unwrap();
    let names: Vec<String> = list(&fs, folder.ino, 1000).into_iter().map(|listed| listed.0).collect();
    assert_eq!(names[..4], [".", "..", "000020.tif", "000021.tif"]);
    assert_eq!(names[2 + 14..2 + 16], ["000034.tif", "000020.png"]);
    assert_eq!(names.len(), 2 + 15 + 15);
    for at_once in [1, 7, 16, 17] {
        let parts: Vec<String> = list(&fs, folder.ino, at_once).into_iter().map(|listed| listed.0).collect();
        assert_eq!(parts, names);
    }
    assert_eq!(folder.nlink, 2);
    let found = walk(&fs);
    let mut inodes: Vec<u64> = found.values().map(|attributes| attributes.ino).collect();
    inodes.sort_unstable();
    inodes.dedup();
    assert_eq!((inodes.len(), fs.statfs().files), (found.len(), found.len() as u64 + 1));
    for (path, attributes) in &found {
        assert_eq!((&find(&fs, path).unwrap(), &fs.path(attributes.ino)), (attributes, path));
    }
    for path in ["000019.tif", "000035.png", "000020", "000020.tiff", "20.tif"] {
        let path = format!("gray/slices/s1/xy/{path}");
        assert!(matches!(find(&fs, &path), Err(Error::NoSuchName)), "{path}");
    }
}

#[test]
fn what_is_left_out_of_a_layout_stands_in_the_attributes() {
    let float = model("float", Dtype::Float32, ([0; 3], [3, 4, 5]), 1, Freshness::Forever);
    let fs = pictures(vec![with_voxels(&float, None)]);
    let attrs = read_json(&fs, "float/attrs.json");
    assert_eq!(attrs["layouts"], json!(["slices"]));
    let expected = json!({"slices/*/*/*.png": "PNG has no pixels for float32 images"});
    assert_eq!(attrs["layouts_left_out"], expected);
    let names: Vec<_> = list(&fs, find(&fs, "float/slices/s0/yz").unwrap().ino, 100).into_iter().map(|l| l.0).collect();
    assert_eq!(names, [".", "..", "000000.tif", "000001.tif", "000002.tif", "000003.tif", "000004.tif"]);
}

/// What becomes of the next read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Answered,
    Failed,
    Kept,
    Panic,
}

/// The fate of each read by its number.
struct Fates(Mutex<Box<dyn FnMut(usize) -> Fate + Send>>);

/// A gray array of zeros that writes down who reads it.
#[derive(Debug)]
struct Watched {
    spec: ArraySpec,
    freshness: Freshness,
    fates: Fates,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    /// The threads that asked, and how many bytes they asked for.
    reads: Vec<(String, u64)>,
    kept: Vec<(u64, array::ThenBytes)>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.reads.fmt(f)
    }
}

thread_local! {
    /// Whether this thread is within a read.
    static IS_READING: Cell<bool> = const { Cell::new(false) };
}

impl ReadVoxels for Watched {
    fn spec(&self) -> &ArraySpec {
        &self.spec
    }

    fn freshness(&self) -> Freshness {
        self.freshness
    }

    fn read_bytes(&self, wanted: VoxelBytes, then: array::ThenBytes) {
        assert!(!IS_READING.get(), "a read within the answer of another");
        let n_bytes = wanted.window.end - wanted.window.start;
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        let nth = {
            let mut log = self.log.lock().unwrap();
            log.reads.push((thread, n_bytes));
            log.reads.len() - 1
        };
        let fate = (self.fates.0.lock().unwrap())(nth);
        match fate {
            Fate::Answered => {
                IS_READING.set(true);
                then(Ok(vec![0; usize::try_from(n_bytes).unwrap()]));
                IS_READING.set(false);
            }
            Fate::Failed => then(Err(array::Error::TooLarge(wanted.file_box))),
            Fate::Kept => self.log.lock().unwrap().kept.push((n_bytes, then)),
            Fate::Panic => panic!("as asked for"),
        }
    }
}

impl Watched {
    /// With pictures across z of 3 bands.
    fn new(freshness: Freshness, fate: impl FnMut(usize) -> Fate + Send + 'static) -> Arc<Self> {
        let spec = model("gray", Dtype::Uint8, ([0; 3], [3, 2500, 4096]), 1, freshness).spec.clone();
        Arc::new(Self { spec, freshness, fates: Fates(Mutex::new(Box::new(fate))), log: Mutex::default() })
    }

    fn mounted(self: &Arc<Self>) -> VirtualFs {
        let array: Arc<Self> = Arc::clone(self);
        let view = ViewFiles { attrs: json!({}), neuroglancer: None, array: Some(array) };
        pictures(vec![InstanceFiles { view, ..without_voxels("gray") }])
    }

    fn n_reads(&self) -> usize {
        self.log.lock().unwrap().reads.len()
    }

    /// Waits until so many reads are kept, and takes them.
    fn kept(&self, n: usize) -> Vec<(u64, array::ThenBytes)> {
        loop {
            let mut log = self.log.lock().unwrap();
            if log.kept.len() >= n {
                return std::mem::take(&mut log.kept);
            }
            drop(log);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl std::fmt::Debug for Fates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fates")
    }
}

/// The checksums of a picture, and the last chunk.
fn ask_checks(fs: &VirtualFs, name: &str) -> Receiver<Result<Vec<u8>, Error>> {
    let picture = find(fs, &format!("gray/slices/s0/xy/{name}.png")).unwrap();
    ask(fs, picture.ino, picture.size - 20, 20)
}

/// From a Python program, by its zlib.
const ZEROS_OF_2500_ROWS_OF_4097: [u8; 8] = [0x52, 0xe8, 0x00, 0x01, 0x9f, 0xe4, 0xd1, 0x52];

#[test]
fn checksums_take_the_whole_picture_in_bands_and_are_kept() {
    let array = Watched::new(Freshness::Forever, |_| Fate::Answered);
    let fs = array.mounted();
    let checks = ask_checks(&fs, "000000").recv().unwrap().unwrap();
    assert_eq!(checks[..8], ZEROS_OF_2500_ROWS_OF_4097);
    let band = ("dvidfs-checks".to_owned(), 4 << 20);
    let last = ("dvidfs-checks".to_owned(), (2500 - 2048) * 4096);
    assert_eq!(array.log.lock().unwrap().reads, [band.clone(), band, last]);
    assert_eq!(ask_checks(&fs, "000000").try_recv().unwrap().unwrap(), checks);
    assert_eq!(array.n_reads(), 3);
    ask_checks(&fs, "000001").recv().unwrap().unwrap();
    assert_eq!(array.n_reads(), 6);
}

#[test]
fn checksums_of_what_may_change_are_made_anew() {
    let array = Watched::new(TTL, |_| Fate::Answered);
    let fs = array.mounted();
    for n in 1..3 {
        ask_checks(&fs, "000000").recv().unwrap().unwrap();
        assert_eq!(array.n_reads(), 3 * n);
    }
}

#[test]
fn a_band_that_fails_is_the_error_of_the_read() {
    let array = Watched::new(Freshness::Forever, |nth| if nth == 1 { Fate::Failed } else { Fate::Answered });
    let fs = array.mounted();
    match ask_checks(&fs, "000002").recv().unwrap() {
        Err(Error::Array { path, source }) => {
            assert_eq!((path.as_str(), source.code()), ("gray/slices/s0/xy/000002.png", "out_of_bounds"));
        }
        other => panic!("{other:?}"),
    }
    // The next reader has better luck, and begins anew.
    assert_eq!(ask_checks(&fs, "000002").recv().unwrap().unwrap()[..8], ZEROS_OF_2500_ROWS_OF_4097);
    assert_eq!(array.n_reads(), 2 + 3);
}

#[test]
fn a_picture_that_hangs_keeps_no_other_waiting() {
    let array = Watched::new(Freshness::Forever, |nth| if nth == 0 { Fate::Kept } else { Fate::Answered });
    let fs = array.mounted();
    let hanging = ask_checks(&fs, "000000");
    let kept = array.kept(1);
    ask_checks(&fs, "000001").recv().unwrap().unwrap();
    assert!(hanging.try_recv().is_err());
    for (n_bytes, then) in kept {
        then(Ok(vec![0; usize::try_from(n_bytes).unwrap()]));
    }
    assert_eq!(hanging.recv().unwrap().unwrap()[..8], ZEROS_OF_2500_ROWS_OF_4097);
}

#[test]
fn nothing_more_is_read_for_a_reader_that_was_killed() {
    let reader = Reader::default();
    let killed = reader.clone();
    // When its first band is asked for.
    let array = Watched::new(Freshness::Forever, move |_| {
        killed.leave();
        Fate::Answered
    });
    let fs = array.mounted();
    let picture = find(&fs, "gray/slices/s0/xy/000000.png").unwrap();
    let (sender, receiver) = channel();
    let then = Box::new(move |result: Result<Vec<u8>, Error>| sender.send(result.unwrap()).unwrap());
    reader.begin(|| fs.read(picture.ino, 0, ByteRange::new(picture.size - 20, 20), then));
    assert!(receiver.recv().is_err());
    assert_eq!(array.n_reads(), 1);
}

#[test]
fn nobody_is_left_waiting_after_a_panic_or_the_end() {
    let array = Watched::new(Freshness::Forever, |nth| match nth {
        0 => Fate::Panic,
        1..4 => Fate::Answered,
        _ => Fate::Kept,
    });
    let fs = array.mounted();
    assert!(ask_checks(&fs, "000000").recv().is_err());
    ask_checks(&fs, "000000").recv().unwrap().unwrap();
    let waiting = ask_checks(&fs, "000001");
    let kept = array.kept(1);
    drop(fs);
    for (n_bytes, then) in kept {
        then(Ok(vec![0; usize::try_from(n_bytes).unwrap()]));
    }
    assert!(waiting.recv().is_err());
}
