// Runs an engine of onnxruntime on a device that has no Python, and answers for it: what `child.py` is elsewhere.
//
//   runner about LIBRARY   one line of JSON: which protocol this is, the library's version and providers
//   runner run JOB         serves the engine that the file names, until standard input ends
//
// JOB is a table of JSON: `library`, `model`, `inputs` and `outputs` (names, in the engine's order), `threads` (null for
// the runtime's choice), `affinity` (cores), `attempts` (session configurations, the first that opens is taken),
// `provider` (cpu, xnnpack, nnapi), `feed` (an .npz, null for none), `profile_runs`, `scratch` (a directory).
//
// Standard output has one value a line: `pid` and `spawned` of the process first, then events with their times of
// CLOCK_MONOTONIC in nanoseconds, then an answer to each line of standard input. What the runtime prints goes to
// standard error. The process that serves is a child of the one that was started, which ends it when its own input
// ends, whatever it is at, and ends with 128 and the number of the signal where one ended it.

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <thread>

#include "engine.hpp"
#include "json.hpp"
#include "timing.hpp"

namespace {

constexpr int protocol = 1;

// A fault of what was given, as `InputError` there.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

int answers = 1;  // where answers go

void tell(const std::string& line) {
  const std::string whole = line + "\n";
  for (std::size_t at = 0; at < whole.size();) {
    const ssize_t done = write(answers, whole.data() + at, whole.size() - at);
    if (done <= 0) _exit(1);  // nobody reads any more
    at += static_cast<std::size_t>(done);
  }
}

void happened(const std::string& event) {
  tell("{\"event\": " + json::quoted(event) + ", \"at\": " + std::to_string(timing::now()) + "}");
}

void refuse(const std::string& message, const std::string& hint = "") {
  tell("{\"error\": " + json::quoted(message) + ", \"hint\": " + (hint.empty() ? "null" : json::quoted(hint)) +
       ", \"kind\": \"InputError\"}");
}

// (now, at most so far) resident bytes, `VmRSS` and `VmHWM` of proc(5).
std::pair<std::int64_t, std::int64_t> resident() {
  std::int64_t now = 0, most = 0;
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, 6, "VmRSS:") == 0) now = std::stoll(line.substr(6)) * 1024;
    if (line.compare(0, 6, "VmHWM:") == 0) most = std::stoll(line.substr(6)) * 1024;
  }
  return {now, most};
}

std::vector<std::string> texts(const json::Value& value) {
  std::vector<std::string> found;
  for (const auto& one : value.list) found.push_back(one.text);
  return found;
}

engine::Plan plan_of(const json::Value& job) {
  engine::Plan plan;
  plan.model = job.at("model").text;
  plan.provider = job.at("provider").text;
  plan.threads = static_cast<int>(job.has("threads") ? job.at("threads").integer() : 0);
  plan.inputs = texts(job.at("inputs"));
  plan.outputs = texts(job.at("outputs"));
  for (const auto& attempt : job.at("attempts").list) {
    engine::Entries entries;
    for (const auto& [key, value] : attempt.table) entries.emplace_back(key, value.text);
    plan.attempts.push_back(entries);
  }
  return plan;
}

void bind_to(const std::vector<json::Value>& cores) {
  if (cores.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const auto& core : cores) CPU_SET(static_cast<std::size_t>(core.integer()), &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) {
    throw std::runtime_error(std::string("The process cannot be bound to its cores: ") + std::strerror(errno) + ".");
  }
}

// The samples of an array repeated or cut along its first axis.
npz::Array resized(const npz::Array& array, std::int64_t batch) {
  npz::Array found = array;
  if (array.shape.empty() || array.data.empty()) return found;
  found.shape[0] = batch;
  found.data.resize(found.count() * found.item());
  for (std::size_t at = 0; at < found.data.size(); ++at) found.data[at] = array.data[at % array.data.size()];
  return found;
}

class Server {
 public:
  explicit Server(const json::Value& job)
      : job_(job), plan_(plan_of(job)), before_(resident().first), library_(job.at("library").text) {
    happened("imported");
    session_ = opened(plan_);
    if (job.has("feed")) {
      fed_ = npz::load(job.at("feed").text);
      session_->bind(fed_);
    }
    opened_ = resident().first;
    happened("opened");
    if (job.has("feed")) {
      call();
      happened("first");
    }
    happened("ready");
  }

  std::string answer(const json::Value& asked) {
    const std::string what = asked.at("do").text;
    if (what == "run") return run(asked);
    if (what == "bind") return bound(asked);
    if (what == "warm") return warmed(asked);
    if (what == "slice") return slice(asked);
    if (what == "turn") return turn(asked);
    if (what == "calls") return std::to_string(calls_);
    if (what == "memory") return memory();
    if (what == "layers") return layers(asked);
    if (what == "offline") return offline(asked);
    throw Fault("The runner on the device cannot be asked for " + what + ".");
  }

 private:
  std::string file() const { return plan_.model.substr(plan_.model.rfind('/') + 1); }

  std::unique_ptr<engine::Session> opened(const engine::Plan& plan, const std::string& profile = "") const {
    try {
      return std::make_unique<engine::Session>(library_, plan, profile);
    } catch (const std::runtime_error& error) {
      throw Fault("onnxruntime " + library_.version + " does not open " + file() + ": " + error.what());
    }
  }

  template <typename Work>
  auto ran(Work&& work) const {
    try {
      return work();
    } catch (const npz::FileError&) {
      throw;
    } catch (const std::runtime_error& error) {
      throw Fault("onnxruntime " + library_.version + " failed to run " + file() + ": " + error.what());
    }
  }

  void call() {
    ran([&] { session_->call(); });
  }
  auto caller() {
    return [this] { call(); };
  }

  std::string run(const json::Value& asked) {
    const npz::Arrays feed = npz::load(asked.at("inputs").text);
    npz::save(asked.at("outputs").text, ran([&] { return session_->run(feed); }));
    return "null";
  }
  std::string bound(const json::Value& asked) {
    fed_ = npz::load(asked.at("inputs").text);
    ran([&] { session_->bind(fed_); });
    call();
    return "null";
  }
  std::string warmed(const json::Value& asked) {
    timing::warm(caller(), asked.at("warmup_seconds").number, static_cast<std::size_t>(asked.at("warmup_count").integer()),
                 asked.at("cap").number, asked.at("steady").number);
    return "null";
  }
  std::string slice(const json::Value& asked) {
    const std::int64_t settling = asked.at("settle_count").integer();
    for (std::int64_t left = settling; left > 0; --left) call();
    const auto taken = timing::lasting(caller(), static_cast<std::int64_t>(asked.at("slice_seconds").number * 1e9));
    calls_ += settling + static_cast<std::int64_t>(taken.size());
    return json::numbers(taken);
  }
  std::string turn(const json::Value& asked) {
    for (std::int64_t left = asked.at("settle").integer(); left > 0; --left) call();
    return json::numbers(timing::counted(caller(), static_cast<std::size_t>(asked.at("count").integer())));
  }
  std::string memory() const {
    const auto [steady, peak] = resident();
    return "{\"before\": " + std::to_string(before_) + ", \"opened\": " + std::to_string(opened_) +
           ", \"steady\": " + std::to_string(steady) + ", \"peak\": " + std::to_string(peak) + "}";
  }

  // The runtime's own profile of some runs, and how many there were.
  std::string layers(const json::Value& asked) {
    const npz::Arrays feed =
        asked.has("inputs") && !asked.at("inputs").text.empty() ? npz::load(asked.at("inputs").text) : fed_;
    const std::int64_t runs = job_.at("profile_runs").integer();
    const auto session = opened(plan_, job_.at("scratch").text + "/profile");
    for (std::int64_t left = runs; left > 0; --left) ran([&] { return session->run(feed); });
    const std::string path = session->profiled();
    std::string events = npz::content(path);
    unlink(path.c_str());
    for (char& letter : events) {
      if (letter == '\n' || letter == '\r') letter = ' ';  // one value a line
    }
    return "{\"runs\": " + std::to_string(runs) + ", \"events\": " + events + "}";
  }

  // Samples a second in each of some windows, with several sessions that share the threads.
  std::string offline(const json::Value& asked) {
    const std::int64_t batch = asked.at("batch").integer(), streams = asked.at("streams").integer();
    const std::int64_t windows = asked.at("windows").integer();
    const double seconds = asked.at("seconds").number / static_cast<double>(windows);
    npz::Arrays feed;
    for (const auto& [name, array] : fed_) feed[name] = resized(array, batch);
    engine::Plan plan = plan_;
    const int all = plan_.threads > 0 ? plan_.threads : static_cast<int>(std::thread::hardware_concurrency());
    plan.threads = std::max(1, all / static_cast<int>(streams));
    std::vector<std::unique_ptr<engine::Session>> sessions;
    for (std::int64_t stream = 0; stream < streams; ++stream) {
      sessions.push_back(opened(plan));
      ran([&] { sessions.back()->bind(feed); });
    }
    std::string rates = "[";
    for (std::int64_t window = 0; window < 1 + windows; ++window) {  // the first only warms up
      const double rate = window_rate(sessions, batch, seconds);
      if (window > 0) rates += (window > 1 ? ", " : "") + std::to_string(rate);
    }
    return rates + "]";
  }

  double window_rate(std::vector<std::unique_ptr<engine::Session>>& sessions, std::int64_t batch, double seconds) const {
    std::vector<double> rates(sessions.size(), 0.0);
    std::vector<std::string> faults(sessions.size());
    std::vector<std::thread> threads;
    for (std::size_t index = 0; index < sessions.size(); ++index) {
      threads.emplace_back([&, index] {
        try {
          const std::int64_t begun = timing::now();
          const auto taken = timing::lasting([&] { sessions[index]->call(); }, static_cast<std::int64_t>(seconds * 1e9));
          const double spent = static_cast<double>(timing::now() - begun) / 1e9;
          rates[index] = static_cast<double>(static_cast<std::int64_t>(taken.size()) * batch) / spent;
        } catch (const std::runtime_error& error) {
          faults[index] = error.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    double sum = 0.0;
    for (std::size_t index = 0; index < sessions.size(); ++index) {
      if (!faults[index].empty()) ran([&]() -> void { throw std::runtime_error(faults[index]); });
      sum += rates[index];
    }
    return sum;
  }

  const json::Value job_;
  const engine::Plan plan_;
  const std::int64_t before_;
  const engine::Library library_;
  std::unique_ptr<engine::Session> session_;
  npz::Arrays fed_;
  std::int64_t opened_ = 0, calls_ = 0;
};

int serve(const std::string& path) {
  std::unique_ptr<Server> server;
  try {
    const json::Value job = json::parse(npz::content(path));
    bind_to(job.at("affinity").list);  // before anything starts a thread
    happened("started");
    server = std::make_unique<Server>(job);
  } catch (const Fault& fault) {
    refuse(fault.what(), "Export it again with the onnxruntime that runs it, or give another library with ?runtime=PATH.");
    return 1;
  } catch (const std::runtime_error& error) {
    refuse(error.what(), "Run the same command again.");
    return 1;
  }
  for (std::string line; std::getline(std::cin, line);) {
    try {
      tell("{\"answer\": " + server->answer(json::parse(line)) + "}");
    } catch (const npz::FileError& error) {
      tell("{\"error\": " + json::quoted(error.what()) + ", \"number\": " + std::to_string(error.number) +
           ", \"file\": " + json::quoted(error.path) + ", \"kind\": \"OSError\"}");
    } catch (const std::runtime_error& error) {
      refuse(error.what());
    }
  }
  return 0;
}

int about(const std::string& path) {
  try {
    const engine::Library library(path);
    std::string names;
    for (const std::string& name : library.providers()) names += (names.empty() ? "" : ", ") + json::quoted(name);
    tell("{\"protocol\": " + std::to_string(protocol) + ", \"version\": " + json::quoted(library.version) +
         ", \"providers\": [" + names + "]}");
    return 0;
  } catch (const std::runtime_error& error) {
    tell("{\"protocol\": " + std::to_string(protocol) + ", \"error\": " + json::quoted(error.what()) + "}");
    return 0;
  }
}

// The child: nothing but its answers goes to standard output.
[[noreturn]] void begin(const std::string& job, int requests, std::int64_t spawned) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  answers = dup(1);
  dup2(2, 1);
  dup2(requests, 0);
  close(requests);
  tell("{\"pid\": " + std::to_string(getpid()) + ", \"spawned\": " + std::to_string(spawned) + "}");
  _exit(serve(job));
}

// Hands on what is written until there is nobody who writes; then the child ends, whatever it is at.
void hand_on(pid_t child, int requests, int life) {
  pollfd watched[] = {{0, POLLIN, 0}, {life, POLLIN, 0}};
  char block[1 << 16];
  while (poll(watched, 2, -1) >= 0 || errno == EINTR) {
    if (watched[1].revents != 0) return;
    if (watched[0].revents == 0) continue;
    const ssize_t count = read(0, block, sizeof block);
    if (count <= 0 || write(requests, block, static_cast<std::size_t>(count)) != count) {
      kill(child, SIGKILL);
      return;
    }
  }
}

int run(const std::string& job) {
  signal(SIGPIPE, SIG_IGN);
  int requests[2], life[2];
  if (pipe2(requests, O_CLOEXEC) != 0 || pipe2(life, O_CLOEXEC) != 0) return 1;
  const std::int64_t spawned = timing::now();
  const pid_t child = fork();
  if (child < 0) return 1;
  if (child == 0) {
    close(requests[1]);
    close(life[0]);
    begin(job, requests[0], spawned);
  }
  close(requests[0]);
  close(life[1]);
  close(1);
  hand_on(child, requests[1], life[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

int main(int count, char** words) {
  const std::string what = count == 3 ? words[1] : "";
  if (what == "about") return about(words[2]);
  if (what == "run") return run(words[2]);
  std::cerr << "usage: runner about LIBRARY | runner run JOB\n";
  return 2;
}
