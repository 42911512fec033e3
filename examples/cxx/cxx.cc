/* SPDX-License-Identifier: MIT
 *
 * cxx - an application in C++17.
 *
 *   g++ -std=c++17 -shared -fPIC -o cxx.so cxx.cc $(pkg-config --cflags gcorn)
 *   gcorn cxx.so:handler
 *   curl 'http://127.0.0.1:8000/sum?of=1,2,3.5'
 *
 * What it shows: the border. No exception may leave a function that the server calls, since nothing
 * behind it could catch it: `handler` catches them all, and so does what the iterator calls. Objects
 * whose life is the request's are given to it (`keep`), and their destructors run when it is over,
 * also when the client just goes away. In between it is C++ as ever.
 *
 * GCORN_EXPORT gives a function C's name; the hooks have it from the header.
 */
#include <exception>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gcorn.h>

namespace {

/* Hands an object to the request. */
template <class T> T &keep(gcorn_environ *env, std::unique_ptr<T> object)
{
    T *raw = object.release();

    gcorn_defer(env, [](void *arg) { delete static_cast<T *>(arg); }, raw);
    return *raw;
}

gcorn_body *text(gcorn_environ *env, gcorn_start_response *start, const char *status,
                 std::string content)
{
    static const gcorn_header headers[] = {{"Content-Type", "text/plain"}, {nullptr, nullptr}};
    auto &kept = keep(env, std::make_unique<std::string>(std::move(content)));

    gcorn_start(start, status, headers);
    return gcorn_body_borrow(env, kept.data(), kept.size());
}

std::vector<double> numbers(const char *list)
{
    std::istringstream in(list ? list : "");
    std::vector<double> all;

    for (std::string word; std::getline(in, word, ',');)
        all.push_back(std::stod(word)); /* std::invalid_argument, std::out_of_range */
    return all;
}

gcorn_body *sum(gcorn_environ *env, gcorn_start_response *start)
{
    double total = 0;
    std::ostringstream out;

    for (double n : numbers(gcorn_query(env, "of")))
        total += n;
    out << total << "\n";
    return text(env, start, "200 OK", out.str());
}

/* A body piece by piece: an object with `next`, under a border of its own. */
class Countdown {
public:
    explicit Countdown(int from) : left(from) {}

    const std::string &next()
    {
        if (left <= 0)
            line.clear();
        else if (left == 13)
            throw std::runtime_error("13 is not counted");
        else
            line = std::to_string(left--) + "\n";
        return line;
    }

private:
    int left;
    std::string line;
};

ssize_t next_count(gcorn_environ *env, void *state, const void **chunk) noexcept
{
    try {
        const std::string &line = static_cast<Countdown *>(state)->next();
        *chunk = line.data();
        return static_cast<ssize_t>(line.size());
    } catch (const std::exception &e) {
        gcorn_log(env, GCORN_ERROR, "%s", e.what());
        return -1;
    }
}

gcorn_body *countdown(gcorn_environ *env, gcorn_start_response *start)
{
    const char *from = gcorn_query(env, "from");
    auto &count = keep(env, std::make_unique<Countdown>(std::stoi(from ? from : "10")));

    gcorn_start(start, "200 OK", nullptr);
    return gcorn_body_iter(env, next_count, nullptr, &count);
}

gcorn_body *route(gcorn_environ *env, gcorn_start_response *start)
{
    const std::string path = gcorn_get(env, "PATH_INFO");

    if (path == "/sum")
        return sum(env, start);
    if (path == "/countdown")
        return countdown(env, start);
    if (path == "/throw")
        throw 42;
    return text(env, start, "200 OK", "C++\n");
}

} // namespace

GCORN_EXPORT
gcorn_body *handler(gcorn_environ *env, gcorn_start_response *start_response)
{
    try {
        return route(env, start_response);
    } catch (const std::logic_error &) { /* what std::stod and the like throw at bad input */
        return gcorn_start(start_response, "400 Bad Request", nullptr) == 0
                   ? gcorn_body_text(env, "not a number\n")
                   : nullptr;
    } catch (const std::exception &e) {
        gcorn_log(env, GCORN_ERROR, "%s", e.what());
    } catch (...) {
        gcorn_log(env, GCORN_ERROR, "something was thrown that is no std::exception");
    }
    return nullptr; /* 500 */
}
