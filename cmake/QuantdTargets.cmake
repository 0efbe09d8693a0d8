# One static library per layer, one binary per folder that has a main, one test binary per layer.
# Sources are globbed: a new file needs no edit here. File name suffixes say how a file is compiled:
#   *_avx2.cc    -mavx2 -mfma -mf16c          *_avx512.cc   -mavx512{f,bw,dq,vl,vnni}
#                                             *_avx512vbmi.cc   -mavx512vbmi as well

set(QUANTD_AVX512_FLAGS -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma -mf16c)

add_library(quantd_build_info INTERFACE)
target_compile_definitions(quantd_build_info INTERFACE QUANTD_VERSION="${PROJECT_VERSION}")

function(quantd_isa_flags)
  foreach(source ${ARGN})
    if(source MATCHES "_avx2\\.cc$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c;-O3")
    elseif(source MATCHES "_avx512\\.cc$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${QUANTD_AVX512_FLAGS};-O3")
    elseif(source MATCHES "_avx512vbmi\\.cc$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${QUANTD_AVX512_FLAGS};-mavx512vbmi;-O3")
    endif()
  endforeach()
endfunction()

function(quantd_target_defaults target)
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR})
  target_compile_options(${target} PRIVATE ${QUANTD_CXX_WARNINGS})
endfunction()

# quantd_layer(core/base DEPS ...): library quantd_core_base of every .cc in the folder and, below it, of subfolders that
# are not binaries of their own. EXCLUDE_MAIN leaves out main/ and quantctl/ subfolders.
function(quantd_layer folder)
  cmake_parse_arguments(layer "EXCLUDE_MAIN" "" "DEPS" ${ARGN})
  string(REPLACE "/" "_" suffix ${folder})
  set(target quantd_${suffix})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.cc)
  if(layer_EXCLUDE_MAIN)
    list(FILTER sources EXCLUDE REGEX "^${CMAKE_SOURCE_DIR}/${folder}/(main|quantctl)/")
  endif()
  if(NOT sources)
    add_library(${target} INTERFACE)
    target_include_directories(${target} INTERFACE ${CMAKE_SOURCE_DIR})
    target_link_libraries(${target} INTERFACE ${layer_DEPS})
    return()
  endif()
  quantd_isa_flags(${sources})
  add_library(${target} STATIC ${sources})
  quantd_target_defaults(${target})
  target_link_libraries(${target} PUBLIC ${layer_DEPS})
endfunction()

function(quantd_binary name folder)
  cmake_parse_arguments(binary "" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.cc)
  if(NOT sources)
    message(STATUS "no sources yet for ${name}")
    return()
  endif()
  add_executable(${name} ${sources})
  quantd_target_defaults(${name})
  target_link_libraries(${name} PRIVATE ${binary_DEPS})
  # Side by side: the daemon and the worker look for `quant` beside themselves.
  install(TARGETS ${name} RUNTIME DESTINATION bin)
endfunction()

# quantd_tests(core/base DEPS ...): tests/core/base/*_test.cc in one binary core_base_test, one ctest entry per suite file.
function(quantd_tests folder)
  cmake_parse_arguments(tests "" "" "DEPS" ${ARGN})
  string(REPLACE "/" "_" suffix ${folder})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${folder}/*.cc)
  list(FILTER sources EXCLUDE REGEX "_bench\\.cc$")
  if(NOT sources)
    return()
  endif()
  add_executable(${suffix}_test ${sources} $<TARGET_OBJECTS:quantd_fail_points>)
  quantd_target_defaults(${suffix}_test)
  target_link_libraries(${suffix}_test PRIVATE ${tests_DEPS} quantd_testing GTest::gtest GTest::gmock)
  add_test(NAME ${suffix} COMMAND ${suffix}_test)
  set_tests_properties(${suffix} PROPERTIES TIMEOUT 600 ENVIRONMENT "${QUANTD_TEST_ENVIRONMENT}")
endfunction()

# quantd_crashtest_program(quantd): the same objects with fail points, as crashtest/quantd in the build folder. The
# programs look for each other beside themselves, so the folder is a whole test build of the service. Never installed.
function(quantd_crashtest_program name)
  add_executable(${name}-crashtest $<TARGET_OBJECTS:${name}> $<TARGET_OBJECTS:quantd_fail_points>)
  get_target_property(libraries ${name} LINK_LIBRARIES)
  target_link_libraries(${name}-crashtest PRIVATE ${libraries})
  set_target_properties(${name}-crashtest PROPERTIES OUTPUT_NAME ${name} LINKER_LANGUAGE CXX
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/crashtest)
endfunction()
