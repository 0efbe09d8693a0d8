"""Signs requests with botocore: reads a JSON list of them from the file named first, prints the list of their signatures.

Each has method, host, path (encoded), query (encoded), body_sha256, headers, region, time, access_key, secret_key, token.
"""
import datetime
import json
import sys
from unittest import mock

import botocore.auth
import botocore.awsrequest
import botocore.credentials


class GivenDigest(botocore.auth.S3SigV4Auth):
    def payload(self, request):
        return request.headers["X-Amz-Content-SHA256"]

    def _modify_request_before_signing(self, request):
        botocore.auth.SigV4Auth._modify_request_before_signing(self, request)


def authorization(row):
    url = "http://" + row["host"] + row["path"] + ("?" + row["query"] if row["query"] else "")
    headers = {**row["headers"], "X-Amz-Content-SHA256": row["body_sha256"]}
    request = botocore.awsrequest.AWSRequest(method=row["method"], url=url, headers=headers)
    keys = botocore.credentials.Credentials(row["access_key"], row["secret_key"], row["token"] or None)
    moment = datetime.datetime.fromisoformat(row["time"])
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=moment):
        GivenDigest(keys, "s3", row["region"]).add_auth(request)
    return request.headers["Authorization"]


print(json.dumps([authorization(row) for row in json.load(open(sys.argv[1]))]))
