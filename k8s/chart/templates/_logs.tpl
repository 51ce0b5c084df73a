{{- /* A container that reads what Ray's processes write under /tmp/ray, and the volume with its configuration. */}}
{{- define "sam3.shipper" -}}
{{- if .Values.logs.ship }}
- name: logs
  image: {{ .Values.logs.image }}
  args: [--config, /etc/logs/pipeline.yaml]
  securityContext:
    {{- include "sam3.unprivileged" . | nindent 4 }}
  resources:
    requests: {cpu: 100m, memory: 128Mi}
    limits: {cpu: 100m, memory: 128Mi}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: logs, mountPath: /etc/logs, readOnly: true}
{{- end }}
{{- end }}

{{- define "sam3.shipperVolume" -}}
{{- if .Values.logs.ship }}
- name: logs
  configMap: {name: {{ .Release.Name }}-logs}
{{- end }}
{{- end }}
