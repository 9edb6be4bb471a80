// Copyright (c) the cloudexit maintainers
// GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
//
// AWS signature version 4, in the header, for GET without a body. Evaluated only when Nginx really asks the origin.
import crypto from 'crypto';

const UNSIGNED = 'UNSIGNED-PAYLOAD';
const SIGNED = 'host;x-amz-content-sha256;x-amz-date';

// Every byte but the unreserved ones and the slash, as S3 wants it, in what is sent and in what is signed.
function encoded(bytes) {
    let text = '';
    for (let i = 0; i < bytes.length; i++) {
        const byte = bytes[i];
        const plain = (byte >= 0x2d && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a) ||
            (byte >= 0x61 && byte <= 0x7a) || byte === 0x5f || byte === 0x7e;
        text += plain ? String.fromCharCode(byte) : '%' + (byte < 16 ? '0' : '') + byte.toString(16).toUpperCase();
    }
    return text;
}

// The object's path, decoded by Nginx and encoded again; empty for what would be a list of a bucket.
function path(r) {
    const uri = encoded(r.rawVariables.uri);
    return uri.endsWith('/') ? (origins.index ? uri + origins.index : '') : uri;
}

// YYYYMMDDTHHMMSSZ of the moment in which Nginx began to work on this event, so that both headers have the same.
function date(r) {
    return new Date(Number(r.variables.msec) * 1000).toISOString().replace(/[-:]|\.\d+/g, '');
}

function hmac(key, text) {
    return crypto.createHmac('sha256', key).update(text).digest();
}

function authorization(r) {
    const origin = origins.private[r.variables.cdn_origin];
    const now = date(r);
    const day = now.substring(0, 8);
    const scope = day + '/' + origin.region + '/s3/aws4_request';
    const request = ['GET', origin.base + r.variables.cdn_path, '', 'host:' + origin.host,
        'x-amz-content-sha256:' + UNSIGNED, 'x-amz-date:' + now, '', SIGNED, UNSIGNED].join('\n');
    const digest = crypto.createHash('sha256').update(request).digest('hex');
    const key = hmac(hmac(hmac(hmac('AWS4' + origin.secret_key, day), origin.region), 's3'), 'aws4_request');
    const signature = crypto.createHmac('sha256', key)
        .update(['AWS4-HMAC-SHA256', now, scope, digest].join('\n')).digest('hex');
    return 'AWS4-HMAC-SHA256 Credential=' + origin.access_key + '/' + scope + ', SignedHeaders=' + SIGNED +
        ', Signature=' + signature;
}

// A part that an origin sent in place of the whole, with 200: the client must not take it for the whole.
function whole(r) {
    if (r.status === 200 && r.headersOut['Content-Range']) {
        r.error('cdn: ' + r.variables.cdn_origin + ' answers a Range with 200: do not use slice with it');
        r.status = 502;
    }
}

export default {path, date, authorization, whole};
