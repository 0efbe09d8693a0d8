# Compiler settings shared by every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
# Programs find OpenBLAS where they were linked with it, installed or not.
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# Asserts stay on in debug and sanitizer builds only. No -ffast-math anywhere: results are part of the contract.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")

set(QUANTD_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined or thread")
if(QUANTD_SANITIZE)
  # Instrumented code without any optimization is too slow for whole jobs.
  set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")
  add_compile_options(-fsanitize=${QUANTD_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${QUANTD_SANITIZE})
endif()
set(QUANTD_TEST_ENVIRONMENT "QUANTD_SOURCE_DIR=${CMAKE_SOURCE_DIR}" "QUANTD_BIN_DIR=${CMAKE_BINARY_DIR}/bin")
if(QUANTD_SANITIZE MATCHES "thread")
  # Protobuf's map fields have one member more in instrumented code, which Debian's libprotobuf does not know of.
  add_compile_options(-U__SANITIZE_THREAD__)
  list(APPEND QUANTD_TEST_ENVIRONMENT "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/cmake/tsan-suppressions.txt")
endif()

# Contraction to fused multiply-add would let results differ between ISA tables: kernels ask for it explicitly.
set(QUANTD_CXX_WARNINGS -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wvla -Werror)
if(QUANTD_SANITIZE)
  # Instrumentation hides initializations from g++ 12, which then warns of headers of the standard library.
  list(APPEND QUANTD_CXX_WARNINGS -Wno-maybe-uninitialized)
endif()
add_compile_options(-ffp-contract=off -fstack-protector-strong)
add_compile_definitions($<$<CONFIG:Release>:_FORTIFY_SOURCE=2>)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(LLD ld.lld)
if(LLD)
  add_link_options(-fuse-ld=lld)
endif()
