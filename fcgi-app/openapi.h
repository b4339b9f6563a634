/*
 * openapi - fcgi-app/openapi.json, built into the program (tools/embed.sh).
 */
#ifndef FCGI_APP_OPENAPI_H
#define FCGI_APP_OPENAPI_H

extern const char openapi_json[];

#endif
