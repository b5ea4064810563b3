// A CUDA driver of two GPUs that writes down what it is asked to do; last_calls() returns that. For test_cuda_driver.py.
#include <cstdint>
#include <cstring>
#include <string>

static std::string calls;
static const std::uintptr_t high = 0x123400000000;  // handles do not fit in 32 bits
static void say(const std::string& text) { calls += text + '\n'; }

extern "C" {
int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int* version) { return *version = 12040, 0; }
int cuDeviceGetCount(int* n) { return *n = 2, 0; }
int cuDeviceGet(int* device, int index) { return *device = 10 + index, index < 2 ? 0 : 101; }
int cuDeviceGetAttribute(int* value, int attribute, int device) { return *value = attribute == 75 ? device - 2 : attribute == 76 ? 6 : -1, 0; }
int cuDevicePrimaryCtxRetain(void** context, int device) { return *context = (void*)(high + device), say("retain " + std::to_string(device)), 0; }
int cuCtxSetCurrent(void* context) { return say("context " + std::to_string((std::uintptr_t)context - high)), 0; }
int cuModuleLoadData(void** module, const char* code) {
    if (std::strcmp(code, "corrupt") == 0) return 200;
    return *module = (void*)(high + 1), say(std::string("load ") + code), 0;
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
    return *function = (void*)((std::uintptr_t)module + 1), say(std::string("function ") + name), 0;
}
int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void* stream,
                   void** parameters, void** extra) {
    std::string text = "launch " + std::to_string((std::uintptr_t)function - high);
    for (unsigned n : {gx, gy, gz, bx, by, bz, shared}) text += ' ' + std::to_string(n);
    text += " stream " + std::to_string((std::uintptr_t)stream - high) + (extra ? " extra" : "");
    return say(text + " parameters " + std::to_string(*(double*)parameters[0]) + ' ' + std::to_string(*(std::int64_t*)parameters[1])), 0;
}
int cuGetErrorString(int status, const char** text) { return *text = status == 200 ? "device kernel image is invalid" : nullptr, 0; }
const char* last_calls() {
    static std::string result;
    result = calls, calls.clear();
    return result.c_str();
}
}
