// Copyright (c) the cloudexit maintainers
// GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
//
// What rclone's S3 server does not do as Amazon's: 206 for a part, 416 for a part of nothing.
function amazon(r) {
    if (r.status === 200 && r.headersOut['Content-Range']) {
        r.status = 206;
    } else if (r.status === 200 && r.headersIn.Range && r.headersOut['Content-Length'] === '0') {
        r.status = 416;
    }
}

export default {amazon};
