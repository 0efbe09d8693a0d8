#include "server/store/request_digest.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <memory>

namespace quantd {
namespace {

// `spec` with nothing but one field.
std::string FieldBytes(const v1::QuantJobSpec& spec, const google::protobuf::FieldDescriptor* kept) {
  v1::QuantJobSpec copy = spec;
  for (int i = 0; i < copy.GetDescriptor()->field_count(); ++i) {
    const auto* field = copy.GetDescriptor()->field(i);
    if (field != kept) copy.GetReflection()->ClearField(&copy, field);
  }
  return DeterministicBytes(copy);
}

}  // namespace

std::string DeterministicBytes(const google::protobuf::Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return bytes;
}

std::string FirstDifference(const v1::QuantJobSpec& a, const v1::QuantJobSpec& b) {
  if (DeterministicBytes(a) == DeterministicBytes(b)) return "";
  for (int i = 0; i < a.GetDescriptor()->field_count(); ++i) {
    const auto* field = a.GetDescriptor()->field(i);
    if (FieldBytes(a, field) != FieldBytes(b, field)) return field->name();
  }
  return "unknown field";
}

}  // namespace quantd
