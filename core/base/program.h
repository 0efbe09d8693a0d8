// What the long-running programs do with their own process.
#ifndef QUANTD_CORE_BASE_PROGRAM_H_
#define QUANTD_CORE_BASE_PROGRAM_H_

#include <string>

namespace quantd {

// Folder of the running executable: where the build and the packages put the others. "." when the system does not say.
std::string ExecutableDirectory();

// Blocks SIGTERM and SIGINT, so that they arrive through the returned descriptor (signalfd) alone, and ignores SIGPIPE.
// Call before the first thread starts: threads inherit it. -1 on failure.
int BlockStopSignals();

// For programs that call a gRPC server: while every call fails at once because the server is away, no thread looks
// after the connection, and gRPC itself does only every 5 s; from now on every 100 ms. Call before the first thread
// starts. The environment may say otherwise.
void NoticeServersSoon();

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_PROGRAM_H_
