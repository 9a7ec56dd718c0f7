// JSON as the runner reads and writes it: one value a line.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace json {

struct Value {
  enum class Kind { null, boolean, number, text, list, table };
  Kind kind = Kind::null;
  bool truth = false;
  double number = 0.0;
  std::string text;
  std::vector<Value> list;
  std::map<std::string, Value> table;

  bool has(const std::string& key) const { return table.count(key) != 0 && table.at(key).kind != Kind::null; }
  const Value& at(const std::string& key) const {
    const auto found = table.find(key);
    if (found == table.end()) throw std::runtime_error("`" + key + "` is missing in what the runner was told.");
    return found->second;
  }
  std::int64_t integer() const { return static_cast<std::int64_t>(number); }
};

class Reader {
 public:
  explicit Reader(const std::string& text) : text_(text) {}

  Value read() {
    Value value = next();
    space();
    if (at_ != text_.size()) fail();
    return value;
  }

 private:
  [[noreturn]] void fail() const {
    throw std::runtime_error("What the runner was told is no JSON, at byte " + std::to_string(at_) + ".");
  }
  void space() {
    while (at_ < text_.size() && std::string(" \t\r\n").find(text_[at_]) != std::string::npos) ++at_;
  }
  char peek() {
    space();
    if (at_ >= text_.size()) fail();
    return text_[at_];
  }
  bool take(char wanted) {
    if (peek() != wanted) return false;
    ++at_;
    return true;
  }
  void need(const char* word) {
    for (; *word != 0; ++word, ++at_) {
      if (at_ >= text_.size() || text_[at_] != *word) fail();
    }
  }

  Value next() {
    Value value;
    switch (peek()) {
      case '{': return table();
      case '[': return list();
      case '"': value.kind = Value::Kind::text; value.text = string(); return value;
      case 'n': need("null"); return value;
      case 't': need("true"); value.kind = Value::Kind::boolean; value.truth = true; return value;
      case 'f': need("false"); value.kind = Value::Kind::boolean; return value;
      default: return numeral();
    }
  }
  Value table() {
    Value value;
    value.kind = Value::Kind::table;
    take('{');
    if (take('}')) return value;
    do {
      if (peek() != '"') fail();
      const std::string key = string();
      if (!take(':')) fail();
      value.table[key] = next();
    } while (take(','));
    if (!take('}')) fail();
    return value;
  }
  Value list() {
    Value value;
    value.kind = Value::Kind::list;
    take('[');
    if (take(']')) return value;
    do value.list.push_back(next());
    while (take(','));
    if (!take(']')) fail();
    return value;
  }
  Value numeral() {
    Value value;
    value.kind = Value::Kind::number;
    char* end = nullptr;
    value.number = std::strtod(text_.c_str() + at_, &end);
    if (end == text_.c_str() + at_) fail();
    at_ = static_cast<std::size_t>(end - text_.c_str());
    return value;
  }
  std::string string() {
    std::string found;
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] != '\\') {
        found += text_[at_];
        continue;
      }
      if (++at_ >= text_.size()) fail();
      const std::string plain = "\"\\/", marks = "bfnrt", meant = "\b\f\n\r\t";
      if (plain.find(text_[at_]) != std::string::npos) found += text_[at_];
      else if (marks.find(text_[at_]) != std::string::npos) found += meant[marks.find(text_[at_])];
      else if (text_[at_] == 'u') add(found, code());
      else fail();
    }
    if (at_ >= text_.size()) fail();
    ++at_;
    return found;
  }
  std::uint32_t hex() {
    if (at_ + 4 >= text_.size()) fail();
    const std::uint32_t found = static_cast<std::uint32_t>(std::stoul(text_.substr(at_ + 1, 4), nullptr, 16));
    at_ += 4;
    return found;
  }
  std::uint32_t code() {
    const std::uint32_t first = hex();
    if (first < 0xD800 || first > 0xDBFF) return first;
    if (text_.compare(at_ + 1, 2, "\\u") != 0) fail();
    at_ += 2;
    return 0x10000 + ((first - 0xD800) << 10) + (hex() - 0xDC00);
  }
  static void add(std::string& text, std::uint32_t code) {
    if (code < 0x80) {
      text += static_cast<char>(code);
      return;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    const std::uint32_t lead[] = {0, 0xC0, 0xE0, 0xF0};
    text += static_cast<char>(lead[more] | (code >> (6 * more)));
    for (int left = more - 1; left >= 0; --left) text += static_cast<char>(0x80 | ((code >> (6 * left)) & 0x3F));
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

inline Value parse(const std::string& text) { return Reader(text).read(); }

// A text in quotes.
inline std::string quoted(const std::string& text) {
  std::string written = "\"";
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') {
      written += '\\';
      written += letter;
    } else if (static_cast<unsigned char>(letter) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(letter));
      written += code;
    } else {
      written += letter;
    }
  }
  return written + "\"";
}

template <typename T>
std::string numbers(const std::vector<T>& values) {
  std::string written = "[";
  for (std::size_t index = 0; index < values.size(); ++index) {
    written += (index == 0 ? "" : ", ") + std::to_string(values[index]);
  }
  return written + "]";
}

}  // namespace json
