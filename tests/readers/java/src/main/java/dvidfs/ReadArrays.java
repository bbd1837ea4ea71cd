package dvidfs;

import com.google.gson.Gson;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.LinkedHashMap;
import java.util.Map;
import org.janelia.saalfeldlab.n5.DataBlock;
import org.janelia.saalfeldlab.n5.DatasetAttributes;
import org.janelia.saalfeldlab.n5.N5FSReader;
import org.janelia.saalfeldlab.n5.N5Reader;
import org.janelia.saalfeldlab.n5.zarr.N5ZarrReader;

/**
 * Reads whole arrays through n5 and n5-zarr.
 *
 * Each line of the standard input names one: {@code n5|zarr TAB container TAB dataset}. For each a line of JSON is
 * printed: these three, {@code shape} in C order, {@code dtype}, {@code sha256} of all voxels in C order,
 * little-endian, and the attributes {@code voxel_size} and {@code offset} as they stand there. The first array that
 * cannot be read ends the program with an exception.
 */
public final class ReadArrays {

  public static void main(String[] arguments) throws Exception {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] words = line.split("\t");
      System.out.println(new Gson().toJson(described(words[0], words[1], words[2])));
    }
  }

  private static Map<String, Object> described(String format, String container, String dataset) throws Exception {
    try (N5Reader reader = format.equals("n5") ? new N5FSReader(container) : new N5ZarrReader(container)) {
      DatasetAttributes attributes = reader.getDatasetAttributes(dataset);
      long[] dimensions = attributes.getDimensions();
      long[] shape = new long[dimensions.length];
      for (int axis = 0; axis < shape.length; axis++) {
        shape[axis] = dimensions[shape.length - 1 - axis];
      }
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(voxels(reader, dataset, attributes));
      StringBuilder hex = new StringBuilder();
      for (byte value : digest) {
        hex.append(String.format("%02x", value));
      }
      Map<String, Object> found = new LinkedHashMap<>();
      found.put("format", format);
      found.put("container", container);
      found.put("dataset", dataset);
      found.put("shape", shape);
      found.put("dtype", attributes.getDataType().toString());
      found.put("sha256", hex.toString());
      found.put("voxel_size", reader.getAttribute(dataset, "voxel_size", double[].class));
      found.put("offset", reader.getAttribute(dataset, "offset", double[].class));
      return found;
    }
  }

  /** All voxels, the first axis of n5 fastest: C order of the shape that is printed. A missing block is zeros. */
  private static byte[] voxels(N5Reader reader, String dataset, DatasetAttributes attributes) {
    long[] dimensions = attributes.getDimensions();
    int[] blockSize = attributes.getBlockSize();
    int itemsize = itemsize(attributes);
    long nBytes = itemsize;
    for (long n : dimensions) {
      nBytes = Math.multiplyExact(nBytes, n);
    }
    byte[] all = new byte[Math.toIntExact(nBytes)];
    long[] position = new long[dimensions.length];
    do {
      DataBlock<?> block = reader.readBlock(dataset, attributes, position.clone());
      if (block != null) {
        put(block, position, attributes, all);
      }
    } while (next(position, dimensions, blockSize));
    return all;
  }

  /** Puts the rows of a block that lie inside the array to their places. */
  private static void put(DataBlock<?> block, long[] position, DatasetAttributes attributes, byte[] all) {
    long[] dimensions = attributes.getDimensions();
    int itemsize = itemsize(attributes);
    int[] size = block.getSize();
    byte[] from = littleEndian(block.getData());
    long[] begin = new long[position.length];
    for (int axis = 0; axis < begin.length; axis++) {
      begin[axis] = position[axis] * attributes.getBlockSize()[axis];
    }
    int inside = (int) Math.min(size[0], dimensions[0] - begin[0]);
    int nRows = from.length / itemsize / size[0];
    for (int row = 0; row < nRows; row++) {
      long at = begin[0];
      long stride = dimensions[0];
      boolean isInside = true;
      int rest = row;
      for (int axis = 1; axis < size.length; axis++) {
        long index = begin[axis] + rest % size[axis];
        rest /= size[axis];
        isInside &= index < dimensions[axis];
        at += index * stride;
        stride *= dimensions[axis];
      }
      if (isInside) {
        System.arraycopy(from, row * size[0] * itemsize, all, Math.toIntExact(at * itemsize), inside * itemsize);
      }
    }
  }

  /** Counts a block position up, the first axis fastest; false after the last. */
  private static boolean next(long[] position, long[] dimensions, int[] blockSize) {
    for (int axis = 0; axis < position.length; axis++) {
      position[axis]++;
      if (position[axis] * blockSize[axis] < dimensions[axis]) {
        return true;
      }
      position[axis] = 0;
    }
    return false;
  }

  private static int itemsize(DatasetAttributes attributes) {
    switch (attributes.getDataType()) {
      case UINT8:
        return 1;
      case UINT16:
        return 2;
      case UINT32:
      case FLOAT32:
        return 4;
      case UINT64:
        return 8;
      default:
        throw new IllegalArgumentException("no array of DVID has " + attributes.getDataType());
    }
  }

  private static byte[] littleEndian(Object data) {
    if (data instanceof byte[]) {
      return (byte[]) data;
    }
    if (data instanceof short[]) {
      ByteBuffer bytes = buffer(2L * ((short[]) data).length);
      bytes.asShortBuffer().put((short[]) data);
      return bytes.array();
    }
    if (data instanceof int[]) {
      ByteBuffer bytes = buffer(4L * ((int[]) data).length);
      bytes.asIntBuffer().put((int[]) data);
      return bytes.array();
    }
    if (data instanceof float[]) {
      ByteBuffer bytes = buffer(4L * ((float[]) data).length);
      bytes.asFloatBuffer().put((float[]) data);
      return bytes.array();
    }
    ByteBuffer bytes = buffer(8L * ((long[]) data).length);
    bytes.asLongBuffer().put((long[]) data);
    return bytes.array();
  }

  private static ByteBuffer buffer(long nBytes) {
    return ByteBuffer.allocate(Math.toIntExact(nBytes)).order(ByteOrder.LITTLE_ENDIAN);
  }

  private ReadArrays() {}
}
