// Arrays by name in a file of numpy's: an archive of `.npy` files without compression.
// The formats: numpy.lib.format, and APPNOTE.TXT of PKWARE. Both are little-endian, as every ABI of Android is.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace npz {

// numpy's letter and size of a type, as in `f4`.
struct Array {
  std::string type;
  std::vector<std::int64_t> shape;
  std::vector<char> data;  // in C order

  std::size_t item() const { return static_cast<std::size_t>(std::stoul(type.substr(1))); }
  std::size_t count() const {
    std::size_t count = 1;
    for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
    return count;
  }
};
using Arrays = std::map<std::string, Array>;

// A file that cannot be read or written; `number` is errno.
struct FileError : std::runtime_error {
  FileError(const std::string& path, int number)
      : std::runtime_error(std::strerror(number)), path(path), number(number) {}
  std::string path;
  int number;
};

namespace detail {

const std::string named = "array:";  // what stands before each name, since numpy gives some a meaning of its own

template <typename T>
T number(const std::string& bytes, std::size_t at) {
  if (at + sizeof(T) > bytes.size()) throw std::runtime_error("A file of arrays is cut off.");
  T found;
  std::memcpy(&found, bytes.data() + at, sizeof found);
  return found;
}

inline std::string between(const std::string& text, const std::string& key, const std::string& begin, char end) {
  const std::size_t at = text.find("'" + key + "'"), from = text.find(begin, at + key.size() + 2);
  if (at == std::string::npos || from == std::string::npos) throw std::runtime_error("A file of arrays has no " + key + ".");
  return text.substr(from + begin.size(), text.find(end, from + begin.size()) - from - begin.size());
}

// Fortran's order, where the first index runs fastest, to C's.
inline std::vector<char> reordered(const Array& array, const char* data) {
  std::vector<char> found(array.count() * array.item());
  const std::size_t rank = array.shape.size(), item = array.item();
  std::vector<std::int64_t> index(rank, 0);
  for (std::size_t to = 0; to < array.count(); ++to) {
    std::size_t from = 0, stride = 1;
    for (std::size_t axis = 0; axis < rank; ++axis) {
      from += static_cast<std::size_t>(index[axis]) * stride;
      stride *= static_cast<std::size_t>(array.shape[axis]);
    }
    std::memcpy(found.data() + to * item, data + from * item, item);
    for (std::size_t axis = rank; axis-- > 0 && ++index[axis] == array.shape[axis];) index[axis] = 0;
  }
  return found;
}

inline Array array(const std::string& bytes) {
  if (bytes.compare(0, 6, "\x93NUMPY") != 0) throw std::runtime_error("A file of arrays holds what is none.");
  const bool first = bytes.at(6) == 1;
  const std::size_t from = first ? 10 : 12;
  const std::size_t size = first ? number<std::uint16_t>(bytes, 8) : number<std::uint32_t>(bytes, 8);
  const std::string header = bytes.substr(from, size), type = between(header, "descr", "'", '\'');
  if (type.empty() || type[0] == '>') throw std::runtime_error("An array has the type " + type + ", which is not read here.");
  Array found;
  found.type = type.substr(1);
  const std::string shape = between(header, "shape", "(", ')');
  for (std::size_t at = 0; at < shape.size();) {
    std::size_t end = shape.find(',', at);
    if (end == std::string::npos) end = shape.size();
    const std::string part = shape.substr(at, end - at);
    if (part.find_first_not_of(' ') != std::string::npos) found.shape.push_back(std::stoll(part));
    at = end + 1;
  }
  if (from + size + found.count() * found.item() > bytes.size()) throw std::runtime_error("A file of arrays is cut off.");
  const char* data = bytes.data() + from + size;
  const bool fortran = header.find("'fortran_order': True") != std::string::npos;
  found.data = fortran ? reordered(found, data) : std::vector<char>(data, data + found.count() * found.item());
  return found;
}

inline std::uint32_t crc(const std::string& bytes) {
  static const std::vector<std::uint32_t> table = [] {
    std::vector<std::uint32_t> made(256);
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      std::uint32_t value = byte;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xEDB88320u : 0u);
      made[byte] = value;
    }
    return made;
  }();
  std::uint32_t value = 0xFFFFFFFFu;
  for (const char byte : bytes) value = (value >> 8) ^ table[(value ^ static_cast<unsigned char>(byte)) & 0xFF];
  return value ^ 0xFFFFFFFFu;
}

inline std::string npy(const Array& array) {
  std::string shape;
  for (const std::int64_t size : array.shape) shape += std::to_string(size) + ", ";
  const char order = array.item() == 1 ? '|' : '<';
  std::string header = "{'descr': '" + std::string(1, order) + array.type + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  header += std::string(63 - (10 + header.size()) % 64, ' ') + "\n";
  const std::uint16_t size = static_cast<std::uint16_t>(header.size());
  std::string bytes = std::string("\x93NUMPY\x01", 7) + std::string(1, '\0');
  bytes.append(reinterpret_cast<const char*>(&size), 2);
  return bytes + header + std::string(array.data.begin(), array.data.end());
}

template <typename T>
void put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// What the headers of an entry have in common: version, UTF-8 names, no compression, no date.
inline std::string entry(const std::string& name, const std::string& body) {
  std::string bytes;
  put<std::uint16_t>(bytes, 20);
  put<std::uint16_t>(bytes, 0x800);
  put<std::uint16_t>(bytes, 0);
  put<std::uint32_t>(bytes, 0x00210000);
  put<std::uint32_t>(bytes, crc(body));
  put<std::uint32_t>(bytes, static_cast<std::uint32_t>(body.size()));
  put<std::uint32_t>(bytes, static_cast<std::uint32_t>(body.size()));
  put<std::uint16_t>(bytes, static_cast<std::uint16_t>(name.size()));
  put<std::uint16_t>(bytes, 0);
  return bytes;
}

}  // namespace detail

inline std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw FileError(path, errno);
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

inline Arrays load(const std::string& path) {
  using detail::number;
  const std::string bytes = content(path);
  const std::size_t end = bytes.rfind("PK\x05\x06");
  if (end == std::string::npos) throw std::runtime_error(path + " is no file of arrays.");
  Arrays found;
  std::size_t at = number<std::uint32_t>(bytes, end + 16);
  for (int left = number<std::uint16_t>(bytes, end + 10); left > 0; --left) {
    const std::size_t size = number<std::uint32_t>(bytes, at + 24), local = number<std::uint32_t>(bytes, at + 42);
    if (number<std::uint16_t>(bytes, at + 10) != 0 || size == 0xFFFFFFFFu || local == 0xFFFFFFFFu) {
      throw std::runtime_error(path + " is compressed, or larger than 4 GB, which the runner does not read.");
    }
    const std::size_t length = number<std::uint16_t>(bytes, at + 28);
    const std::string name = bytes.substr(at + 46, length);
    const std::size_t body = local + 30 + number<std::uint16_t>(bytes, local + 26) + number<std::uint16_t>(bytes, local + 28);
    if (body + size > bytes.size()) throw std::runtime_error("A file of arrays is cut off.");
    const std::size_t skipped = name.compare(0, detail::named.size(), detail::named) == 0 ? detail::named.size() : 0;
    found[name.substr(skipped, name.size() - skipped - 4)] = detail::array(bytes.substr(body, size));
    at += 46 + length + number<std::uint16_t>(bytes, at + 30) + number<std::uint16_t>(bytes, at + 32);
  }
  return found;
}

inline void save(const std::string& path, const Arrays& arrays) {
  using detail::put;
  std::string bytes, directory;
  for (const auto& [key, array] : arrays) {
    const std::string name = detail::named + key + ".npy", body = detail::npy(array), entry = detail::entry(name, body);
    const std::size_t offset = bytes.size();
    if (offset + body.size() > 0xFFFF0000u) throw std::runtime_error("Outputs of 4 GB are more than the runner writes.");
    bytes += "PK\x03\x04" + entry + name + body;
    directory += "PK\x01\x02";
    put<std::uint16_t>(directory, 20);
    directory += entry;
    directory.append(10, '\0');
    put<std::uint32_t>(directory, static_cast<std::uint32_t>(offset));
    directory += name;
  }
  const std::size_t start = bytes.size();
  bytes += directory + std::string("PK\x05\x06\0\0\0\0", 8);
  put<std::uint16_t>(bytes, static_cast<std::uint16_t>(arrays.size()));
  put<std::uint16_t>(bytes, static_cast<std::uint16_t>(arrays.size()));
  put<std::uint32_t>(bytes, static_cast<std::uint32_t>(directory.size()));
  put<std::uint32_t>(bytes, static_cast<std::uint32_t>(start));
  put<std::uint16_t>(bytes, 0);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) throw FileError(path, errno);
}

}  // namespace npz
